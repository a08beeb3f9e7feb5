"""tokenizer.json to GGUF's tokenizer keys, for byte-level BPE.

The pre-tokenizer's id comes from the regexes that tokenizer.json really holds, never from hashing
tokenized text and never by running code from the checkpoint. Source of keys and token kinds:
llama.cpp, conversion/base.py and gguf-py's SpecialVocab.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from dslocal.errors import CheckpointError

from .checkpoint import read_json
from .config import Config, short_repr
from .source import Source

FILE, CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
MAX_TEMPLATE = 1 << 20  # characters


class TokenKind(IntEnum):
    """``enum llama_token_type``."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


# what each of llama.cpp's pre-tokenizers means (src/llama-vocab.cpp): the regexes of its Split
# steps in order, and whether a
# Digits step takes digits one by one. A step that ends in … is known by its beginning:
# deepseek-llm's list of letters is long.
_CJK = "[一-龥ࠀ-一가-\ud7ff]+"
_WORDS = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
_GPT4 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|{digits}"
    "| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
PRE_TOKENIZERS: dict[str, tuple[tuple[str, ...], bool]] = {
    "deepseek-v3": (("\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _WORDS), False),
    "deepseek-llm": (
        ("[\r\n]", "\\s?[A-Za-zµÀ-ÖØ-öø-ƺ…", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", _CJK),
        True,
    ),
    "deepseek-coder": (("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", _CJK), True),
    "llama-bpe": ((_GPT4.format(digits="\\p{N}{1,3}"),), False),
    "qwen2": ((_GPT4.format(digits="\\p{N}"),), False),
}
# in the vocabularies of the R1 distills; llama.cpp has a name of its own for those of Qwen
R1_MARK = "<｜User｜>"


def tokenizer_metadata(source: Source, config: Config) -> Iterator[tuple[str, Any]]:
    """The ``tokenizer.*`` keys, in order. Raises CheckpointError when the tokenizer is not one that
    llama.cpp can run.
    """
    tokenizer = read_json(source, FILE)
    settings = read_json(source, CONFIG_FILE) if source.exists(CONFIG_FILE) else {}
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise CheckpointError("is not a BPE tokenizer", file=FILE)
    if changed := [
        key
        for key in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "dropout")
        if model.get(key)
    ]:
        raise CheckpointError(
            f"has a BPE with {', '.join(changed)}, which llama.cpp does not do for byte-level ones",
            file=FILE,
        )
    _check_normalizer(tokenizer.get("normalizer"))
    added = _added(tokenizer)
    tokens, kinds = _vocabulary(model, added, config.integer("vocab_size"))
    yield "tokenizer.ggml.model", "gpt2"
    yield "tokenizer.ggml.pre", _pre_tokenizer(tokenizer, added)
    yield "tokenizer.ggml.tokens", tokens
    yield "tokenizer.ggml.token_type", [int(kind) for kind in kinds]
    yield "tokenizer.ggml.merges", _merges(model)
    for role in ("bos", "eos", "unk", "pad"):
        if (token := _special(role, settings, added, config)) is not None:
            yield f"tokenizer.ggml.{_ROLE_KEYS.get(role, role)}_token_id", token
    yield from _add_flags(tokenizer, settings)
    template = settings.get("chat_template")
    if isinstance(template, str) and len(template) <= MAX_TEMPLATE:
        yield "tokenizer.chat_template", template


_ROLE_KEYS = {"unk": "unknown", "pad": "padding"}


def _added(tokenizer: dict[str, Any]) -> dict[int, tuple[str, bool]]:
    """Added tokens: id to (text, special)."""
    entries = tokenizer.get("added_tokens", [])
    added: dict[int, tuple[str, bool]] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        match entry:
            case {"id": int(i), "content": str(text), "special": bool(special)} if (
                text and i not in added
            ):
                added[i] = (text, special)
            case _:
                raise CheckpointError(
                    f"has an added token that makes no sense: {short_repr(entry, 80)}", file=FILE
                )
    return added


def _vocabulary(
    model: dict[str, Any], added: dict[int, tuple[str, bool]], size: int
) -> tuple[list[str], list[TokenKind]]:
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
    highest = max([*by_id, *added], default=-1)
    lowest = min([*by_id, *added], default=0)
    if lowest < 0 or highest >= size:
        raise CheckpointError(
            f"has token id {short_repr(highest if highest >= size else lowest)}; config.json's vocab_size is {size}",
            file=FILE,
        )
    tokens, kinds = [], []
    for i in range(size):
        if i in added:
            text, special = added[i]
            control = special or _looks_special(text)
            tokens.append(text if control else text.replace("\u2581", " "))
            kinds.append(TokenKind.CONTROL if control else TokenKind.USER_DEFINED)
        elif i in by_id:
            tokens.append(by_id[i])
            kinds.append(TokenKind.NORMAL)
        else:
            tokens.append(f"[PAD{i}]")
            kinds.append(TokenKind.UNUSED)
    _check_distinct(tokens)
    return tokens, kinds


def _check_distinct(tokens: list[str]) -> None:
    """Raises CheckpointError when two tokens are the same to llama.cpp, which then aborts the
    process as it loads the file.
    """
    seen: dict[str, int] = {}
    for i, text in enumerate(tokens):
        first = seen.setdefault(text.partition("\0")[0] or f"[EMPTY_{i}]", i)
        if first != i:
            raise CheckpointError(
                f"spells two tokens alike, {first} and {i}: {text[:40]!r}", file=FILE
            )


def _check_normalizer(normalizer: object) -> None:
    """Raises CheckpointError for one that changes more than NFC does: GGUF has no place for it. NFC
    is left to whoever encodes.
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


def _looks_special(text: str) -> bool:
    """Tokens that DeepSeek's files mark as ordinary though they are control tokens, as
    ``<｜User｜>``.
    """
    return (
        text == "<pad>"
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<｜") and text.endswith("｜>"))
    )


def _merges(model: dict[str, Any]) -> list[str]:
    merges, vocabulary = model.get("merges"), model["vocab"]
    if not isinstance(merges, list) or not merges:
        raise CheckpointError("has no merges", file=FILE)
    written = []
    for merge in merges:
        match merge.split(" ") if isinstance(merge, str) else merge:
            case [str(left), str(right)] if (
                left in vocabulary and right in vocabulary and left + right in vocabulary
            ):
                # as a pair, the form since transformers 4.45, a piece may hold a space
                written.append(f"{left.replace(' ', chr(288))} {right.replace(' ', chr(288))}")
            case _:
                raise CheckpointError(
                    f"has a merge that makes no sense: {short_repr(merge, 80)}", file=FILE
                )
    return written


def _pre_tokenizer(tokenizer: dict[str, Any], added: dict[int, tuple[str, bool]]) -> str:
    patterns: list[str] = []
    digits = byte_level = False
    for step in _steps(tokenizer.get("pre_tokenizer"), "pretokenizers"):
        match step:
            case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"} if (
                not digits and not byte_level
            ):
                patterns.append(pattern)
            case {"type": "Digits", "individual_digits": True} if not digits and not byte_level:
                digits = True
            case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False} if (
                not byte_level
            ):
                byte_level = True
            case _:
                raise CheckpointError(
                    f"has a pre-tokenizer step that llama.cpp does not know: {short_repr(step, 120)}",
                    file=FILE,
                )
    if not byte_level:
        raise CheckpointError("is not byte-level", file=FILE)
    for name, (known, known_digits) in PRE_TOKENIZERS.items():
        if (
            digits == known_digits
            and len(patterns) == len(known)
            and all(map(_is_step, patterns, known))
        ):
            return (
                "deepseek-r1-qwen"
                if name == "qwen2" and any(text == R1_MARK for text, _ in added.values())
                else name
            )
    raise CheckpointError(
        f"splits text with regexes that llama.cpp does not know: {short_repr(patterns, 200)}",
        file=FILE,
    )


def _steps(node: object, key: str) -> list[object]:
    """The steps of a part of the pipeline, which may be one step by itself."""
    match node:
        case None:
            return []
        case {"type": "Sequence", **rest} if isinstance(steps := rest.get(key), list):
            return steps
    return [node]


def _is_step(pattern: str, known: str) -> bool:
    return pattern.startswith(known[:-1]) if known.endswith("…") else pattern == known


def _special(
    role: str, settings: dict[str, Any], added: dict[int, tuple[str, bool]], config: Config
) -> int | None:
    text = _spelled(settings.get(f"{role}_token"))
    for i, (content, _) in added.items():
        if content == text:
            return i
    key = f"{role}_token_id"
    if not config.has(key):
        return None
    if (token := config.integer(key, least=0)) >= config.integer("vocab_size"):
        raise config.fail(
            key, f"is {token}; config.json's vocab_size is {config.integer('vocab_size')}"
        )
    return token


def _spelled(token: object) -> object:
    """A token's text: tokenizer_config.json writes it plainly or inside an object."""
    return token.get("content") if isinstance(token, dict) else token


def _add_flags(tokenizer: dict[str, Any], settings: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Whether bos and eos are added by default: tokenizer.json's post-processor decides,
    tokenizer_config.json after it.
    """
    flags: dict[str, bool] = {}
    for step in _steps(tokenizer.get("post_processor"), "processors"):
        match step:
            case {"type": "ByteLevel"}:
                flags.setdefault("bos", False)
                flags.setdefault("eos", False)
            case {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": first}}, *_]}:
                flags["bos"] = first == _spelled(settings.get("bos_token"))
                flags["sep"] = False
    for role in ("bos", "eos", "sep"):
        default = settings.get(f"add_{role}_token")
        if isinstance(default, bool):
            flags.setdefault(role, default)
        if role in flags:
            yield f"tokenizer.ggml.add_{role}_token", flags[role]
