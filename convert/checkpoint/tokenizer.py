"""tokenizer.json to GGUF's tokenizer keys, for byte-level BPE.

Nothing of the checkpoint is run. Source of keys and token types: llama.cpp, conversion/base.py
(``get_vocab_base``, ``does_token_look_special``) and gguf-py's ``SpecialVocab``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from dslocal.errors import CheckpointError

from .chat_template import chat_template_metadata
from .config import Config, short_repr
from .json_file import read_json
from .pre_tokenizer import R1_TOKEN, pipeline_steps, pre_tokenizer_name
from .source import Source
from .v4_template import v4_template

FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
# what a BPE may have that llama.cpp's byte-level BPE does not do
UNSUPPORTED = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "dropout")
# roles of special tokens by transformers' name, and by GGUF's
ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
FLAG_ROLES = ("bos", "eos", "sep")
# V3's splits have another name where V3.2's or V4's tokenizer adds no BOS: llama.cpp's converter
# tells vocabularies apart by the hash of an encoded text
NO_BOS_ARCHITECTURES = ("DeepseekV32ForCausalLM", "DeepseekV4ForCausalLM")
PRE_WITHOUT_BOS = {"deepseek-v3": "joyai-llm"}
_BYTE_FOR_SPACE = "Ġ"  # how byte-level BPE writes the byte 0x20


class TokenKind(IntEnum):
    """``enum llama_token_type``."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


class AddedToken(NamedTuple):
    """A token beside the BPE's own. ``special`` is what the file says of it."""

    text: str
    special: bool

    @property
    def is_control(self) -> bool:
        """Return whether it is a control token, though the file may call it ordinary."""
        return self.special or _looks_special(self.text)


AddedTokens = dict[int, AddedToken]  # by id, in the file's order


def _ignore(_notice: str) -> None:
    """Drop what the user might want to know."""


def tokenizer_metadata(
    source: Source, config: Config, notice: Callable[[str], None] = _ignore
) -> Iterator[tuple[str, Any]]:
    """Yield the ``tokenizer.*`` keys in order.

    Args:
        source: The files of the checkpoint.
        config: Its config.json.
        notice: Receives what the user should know.

    Raises:
        CheckpointError: The tokenizer is damaged, or not one that llama.cpp can run.
    """
    tokenizer = read_json(source, FILE)
    settings = read_json(source, CONFIG_FILE) if source.exists(CONFIG_FILE) else {}
    model = _bpe(tokenizer)
    _check_normalizer(tokenizer.get("normalizer"))
    added = _added_tokens(tokenizer)
    tokens, kinds = _vocabulary(model, added, config.integer("vocab_size"))
    is_r1_distill = any(token.text == R1_TOKEN for token in added.values())
    yield "tokenizer.ggml.model", "gpt2"
    flags = _add_flags(tokenizer, settings)
    pre = pre_tokenizer_name(tokenizer, is_r1_distill=is_r1_distill)
    is_new = config.architecture in NO_BOS_ARCHITECTURES and not flags.get("bos", True)
    yield "tokenizer.ggml.pre", PRE_WITHOUT_BOS.get(pre, pre) if is_new else pre
    yield "tokenizer.ggml.tokens", tokens
    yield "tokenizer.ggml.token_type", [int(kind) for kind in kinds]
    yield "tokenizer.ggml.merges", _merges(model)
    for role, key in ROLES.items():
        token = _special_token(role, settings, added, config, notice)
        if token is not None:
            yield f"tokenizer.ggml.{key}_token_id", token
    for role in FLAG_ROLES:
        if role in flags:
            yield f"tokenizer.ggml.add_{role}_token", flags[role]
    templates = dict(chat_template_metadata(source, settings, notice))
    yield from templates.items()
    if not templates:
        template = v4_template(source, config, notice)
        if template is not None:
            yield "tokenizer.chat_template", template


def _bpe(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Return the BPE model. Raises CheckpointError where it is not one that llama.cpp can run."""
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise CheckpointError("is not a BPE tokenizer", file=FILE)
    unsupported = [key for key in UNSUPPORTED if model.get(key)]
    if unsupported:
        raise CheckpointError(
            f"has a BPE with {', '.join(unsupported)}, "
            "which llama.cpp does not support in byte-level BPE",
            file=FILE,
        )
    return model


def _check_normalizer(normalizer: object) -> None:
    """Reject a normalizer that changes more than NFC does: GGUF has no place for it.

    NFC is applied by the engine before it encodes.

    Raises:
        CheckpointError: It is another one.
    """
    match normalizer:
        case None | {"type": "NFC"}:
            return
        case {"type": "Sequence", "normalizers": [*steps]}:
            for step in steps:
                _check_normalizer(step)
        case _:
            raise CheckpointError(
                f"has a normalizer that llama.cpp does not know: {short_repr(normalizer)}",
                file=FILE,
            )


def _added_tokens(tokenizer: dict[str, Any]) -> AddedTokens:
    """Return the added tokens. Raises CheckpointError."""
    entries = tokenizer.get("added_tokens", [])
    if not isinstance(entries, list):
        entries = [None]  # is reported as one that makes no sense
    added: AddedTokens = {}
    for entry in entries:
        match entry:
            case {"id": int(i), "content": str(text), "special": bool(special)} if (
                text and i not in added
            ):
                added[i] = AddedToken(text, special)
            case _:
                raise CheckpointError(
                    f"has an invalid added token: {short_repr(entry, 80)}", file=FILE
                )
    return added


def _vocabulary(
    model: dict[str, Any], added: AddedTokens, size: int
) -> tuple[list[str], list[TokenKind]]:
    """Return the text and the kind of each of ``size`` tokens, by id.

    Ids that no token has are filled up with ``[PADn]``.

    Raises:
        CheckpointError: Two tokens share an id or a text, or an id is out of range.
    """
    by_id = _text_by_id(model)
    _check_ids([*by_id, *added], size)
    tokens: list[str] = []
    kinds: list[TokenKind] = []
    for i in range(size):
        if i in added:
            token = added[i]
            # outside of control tokens, ▁ stands for a space
            tokens.append(token.text if token.is_control else token.text.replace("\u2581", " "))
            kinds.append(TokenKind.CONTROL if token.is_control else TokenKind.USER_DEFINED)
        elif i in by_id:
            tokens.append(by_id[i])
            kinds.append(TokenKind.NORMAL)
        else:
            tokens.append(f"[PAD{i}]")
            kinds.append(TokenKind.UNUSED)
    _check_distinct(tokens)
    return tokens, kinds


def _text_by_id(model: dict[str, Any]) -> dict[int, str]:
    """Return the BPE's own tokens by id. Raises CheckpointError."""
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict) or not all(
        isinstance(i, int) and not isinstance(i, bool) for i in vocabulary.values()
    ):
        raise CheckpointError("has no vocabulary", file=FILE)
    by_id: dict[int, str] = {}
    for text, i in vocabulary.items():
        if i in by_id:
            raise CheckpointError(
                f"gives the id {i} to two tokens, {by_id[i][:40]!r} and {text[:40]!r}", file=FILE
            )
        by_id[i] = text
    return by_id


def _check_ids(ids: list[int], size: int) -> None:
    """Check that ids are from 0 to below ``size``. Raises CheckpointError."""
    highest = max(ids, default=-1)
    lowest = min(ids, default=0)
    if lowest < 0 or highest >= size:
        wrong = highest if highest >= size else lowest
        raise CheckpointError(
            f"has token id {short_repr(wrong)}; config.json's vocab_size is {size}", file=FILE
        )


def _check_distinct(tokens: list[str]) -> None:
    """Check that llama.cpp can tell all tokens apart; else it aborts as it loads the file.

    It cuts a token at a NUL byte, and calls an empty one ``[EMPTY_n]`` (src/llama-vocab.cpp).

    Raises:
        CheckpointError: Two tokens are the same to it.
    """
    seen: dict[str, int] = {}
    for i, text in enumerate(tokens):
        first = seen.setdefault(text.partition("\0")[0] or f"[EMPTY_{i}]", i)
        if first != i:
            raise CheckpointError(
                f"gives tokens {first} and {i} the same text: {text[:40]!r}", file=FILE
            )


def _looks_special(text: str) -> bool:
    """Return whether it is a control token by its form, such as ``<｜User｜>``.

    DeepSeek's files mark some of them as ordinary. Source: convert_hf_to_gguf,
    ``does_token_look_special``.
    """
    return (
        text == "<pad>"
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<｜") and text.endswith("｜>"))
    )


def _merges(model: dict[str, Any]) -> list[str]:
    """Return the merges as GGUF writes them: two pieces with a space between them.

    Raises:
        CheckpointError: A piece, or what two make, is not in the vocabulary.
    """
    merges, vocabulary = model.get("merges"), model["vocab"]
    if not isinstance(merges, list) or not merges:
        raise CheckpointError("has no merges", file=FILE)
    written = []
    for merge in merges:
        match merge.split(" ") if isinstance(merge, str) else merge:
            case [str(left), str(right)] if (
                left in vocabulary and right in vocabulary and left + right in vocabulary
            ):
                # in the form of a pair, used since transformers 4.45, a piece may hold a space
                left = left.replace(" ", _BYTE_FOR_SPACE)
                right = right.replace(" ", _BYTE_FOR_SPACE)
                written.append(f"{left} {right}")
            case _:
                raise CheckpointError(f"has an invalid merge: {short_repr(merge, 80)}", file=FILE)
    return written


def _special_token(
    role: str,
    settings: dict[str, Any],
    added: AddedTokens,
    config: Config,
    notice: Callable[[str], None],
) -> int | None:
    """Return the id of the token of a role such as ``bos``, or None where there is none.

    Raises:
        CheckpointError: config.json gives something that cannot be an id.
    """
    found = _added_token_id(_token_text(settings.get(f"{role}_token")), added)
    if found is not None:
        return found
    key = f"{role}_token_id"
    value = config.values.get(key)
    if isinstance(value, list):  # Llama 3 lists all ids that end a text, the main one first
        value = value[0] if value else None
    token_id = _as_token_id(value, added)
    if token_id is None and value not in (None, "", "none", "None", "null"):
        raise config.error(key, f"is {short_repr(value)}; the id of a token is needed")
    if token_id is None or token_id < 0:  # -1 is how older configurations say none
        return None
    size = config.integer("vocab_size")
    if token_id >= size:
        notice(f"config.json: {key} {short_repr(token_id)} is left out: there are {size:,} tokens")
        return None
    return token_id


def _as_token_id(value: object, added: AddedTokens) -> int | None:
    """Return an id as JSON may spell it: a number, digits, or the text of an added token."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
        return int(value)
    return _added_token_id(value, added)


def _added_token_id(text: object, added: AddedTokens) -> int | None:
    return next((i for i, token in added.items() if token.text == text), None)


def _token_text(token: object) -> object:
    """Return a token's text: tokenizer_config.json writes it plainly or inside an object."""
    return token.get("content") if isinstance(token, dict) else token


def _add_flags(tokenizer: dict[str, Any], settings: dict[str, Any]) -> dict[str, bool]:
    """Return, by role, whether that token is added by default.

    tokenizer.json's post-processor decides, and tokenizer_config.json what it leaves open. Source:
    gguf-py, ``SpecialVocab._try_load_from_tokenizer_json``.
    """
    flags: dict[str, bool] = {}
    for step in pipeline_steps(tokenizer.get("post_processor"), "processors"):
        match step:
            case {"type": "ByteLevel"}:
                flags.setdefault("bos", False)
                flags.setdefault("eos", False)
            case {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": first}}, *_]}:
                flags["bos"] = first == _token_text(settings.get("bos_token"))
                flags["sep"] = False
    for role in FLAG_ROLES:
        default = settings.get(f"add_{role}_token")
        if isinstance(default, bool):
            flags.setdefault(role, default)
    return flags
