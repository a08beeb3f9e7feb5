"""Find faults of a GGUF file that llama.cpp loads without an error, but that spoil its answers.

Many people and programs make such files. A file without a pre-tokenizer splits text in another way
than its model was trained with. A file whose special tokens are marked as ordinary text cannot be
prompted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dslocal.errors import UnsupportedModelError

if TYPE_CHECKING:
    from dslocal.gguf.header import GgufHeader
    from dslocal.prompts import Family

# llama.cpp's names of the pre-tokenizers that DeepSeek's models have, aliases among them.
# Source: src/llama-vocab.cpp, llama_vocab::impl::load.
PRE_TOKENIZERS = (
    "deepseek-v3",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-r1-qwen",
    "qwen2",
    "llama-bpe",
    "llama3",
    "llama-v3",
    "joyai-llm",
)
NORMAL = 1  # the type of ordinary text: enum llama_token_type of llama.h
REMEDY = "download or convert it again"
NOTICED = "noticed-faults"  # the state in which it is remembered which files were spoken of
MAX_NOTICED = 200  # files
MAX_SHOWN = 3  # tokens in a message


def file_faults(header: GgufHeader, family: Family | None = None) -> list[str]:
    """Return the faults of a file, one sentence each; nothing for a file without faults.

    Args:
        header: The header of the file.
        family: How it is prompted, where that is known.
    """
    faults = [*_pre_tokenizer_faults(header), *_vocabulary_faults(header)]
    if family is not None:
        unusable = unusable_specials(header, family)
        if unusable:
            faults.append(_unusable_text(unusable))
        has_need = not family.is_base and not family.signs.shape  # a shape says enough
        if has_need and not header.text("tokenizer.chat_template"):
            faults.append(
                "it has no chat template (tokenizer.chat_template): dslocal prompts it as "
                f"{family.title}, but other programs may not"
            )
    return faults


def faults_of(header: GgufHeader) -> list[str]:
    """Return what is wrong with a file, with its family recognised where that is possible."""
    from dslocal.prompts import recognise_family

    try:
        return file_faults(header, recognise_family(header).family)
    except UnsupportedModelError:
        return file_faults(header)


def unusable_specials(header: GgufHeader, family: Family) -> list[str]:
    """Return the special tokens of a plain prompt that the file has as ordinary text, or lacks."""
    from dslocal.prompts import Message, Special

    types = header.metadata.get("tokenizer.ggml.token_type")
    listed = types if isinstance(types, list) else []
    special = {
        token for token, kind in zip(header.tokens(), listed, strict=False) if kind != NORMAL
    }
    prompt = family.render([Message("user", "x")], family.default_thinking)
    wanted = [segment.token for segment in prompt if isinstance(segment, Special)]
    return [token for token in dict.fromkeys(wanted) if token not in special]


def require_promptable(name: str, header: GgufHeader, family: Family) -> None:
    """Refuse a file that no prompt can be written for.

    Raises:
        UnsupportedModelError: Its special tokens are marked as ordinary text, or are missing.
    """
    unusable = unusable_specials(header, family)
    if unusable:
        raise UnsupportedModelError(f"{name}: {_unusable_text(unusable)}", hint=REMEDY)


class _Stamp(NamedTuple):
    """The state of a file, which changes when the file does."""

    size: int
    changed: int


def new_faults(path: Path, header: GgufHeader, family: Family | None) -> list[str]:
    """Return the faults of a file at the first call for it, and nothing at later calls.

    Args:
        path: The file.
        header: Its header.
        family: As for :func:`file_faults`; None where the user decided how it is prompted.
    """
    from dslocal import home

    faults = file_faults(header, family)
    if not faults:
        return []
    status = path.stat()
    stamp = list(_Stamp(status.st_size, status.st_mtime_ns))
    noticed = home.read_state(NOTICED)
    key = str(path.absolute())
    if noticed.get(key) == stamp:
        return []
    kept = dict(list(noticed.items())[-MAX_NOTICED:])
    home.write_state(NOTICED, {**kept, key: stamp})
    return faults


def _unusable_text(tokens: list[str]) -> str:
    shown = ", ".join(tokens[:MAX_SHOWN])
    return (
        f"its vocabulary has no special token {shown}: its type (tokenizer.ggml.token_type) says "
        "that it is ordinary text, so no prompt can be written"
    )


def _pre_tokenizer_faults(header: GgufHeader) -> Iterator[str]:
    if header.text("tokenizer.ggml.model") != "gpt2":
        return
    name = header.text("tokenizer.ggml.pre")
    if not name:
        yield (
            "it names no pre-tokenizer (tokenizer.ggml.pre), like files from before May 2024: "
            f"text is split in another way than in training, and answers are worse; {REMEDY}"
        )
    elif name not in PRE_TOKENIZERS:
        yield (
            f"its pre-tokenizer (tokenizer.ggml.pre) is {name!r:.40}, which no DeepSeek model has: "
            f"text is split in another way than in training, and answers are worse; {REMEDY}"
        )


def _vocabulary_faults(header: GgufHeader) -> Iterator[str]:
    """Yield where numbers of tokens differ, and ids that no token has."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    count = len(tokens) if isinstance(tokens, list) else 0
    if not count:
        yield f"it has no vocabulary (tokenizer.ggml.tokens); {REMEDY}"
        return
    for key in ("token_type", "scores"):
        listed = header.metadata.get(f"tokenizer.ggml.{key}")
        if isinstance(listed, list) and len(listed) != count:
            yield (
                f"it has {count:,} tokens, and {len(listed):,} entries in tokenizer.ggml.{key}; "
                f"{REMEDY}"
            )
    said = header.of_arch("vocab_size", count)
    if said != count:
        yield f"it has {count:,} tokens, and says {said:,} (vocab_size); {REMEDY}"
    for tensor in header.tensors:
        rows = tensor.shape[-1]
        if tensor.name in ("token_embd.weight", "output.weight") and rows != count:
            yield f"it has {count:,} tokens, and {tensor.name} has {rows:,} rows; {REMEDY}"
    for key in ("bos_token_id", "eos_token_id"):
        number = header.integer(f"tokenizer.ggml.{key}", 0)
        if not 0 <= number < count:
            yield f"its {key} is {number:,}, and no token has that number; {REMEDY}"
