"""Which of llama.cpp's pre-tokenizers a tokenizer.json asks for.

A pre-tokenizer cuts text into words before BPE. llama.cpp knows each by a name; the name is found
by the regexes that tokenizer.json really holds, never by hashing tokenized text (as
convert_hf_to_gguf's ``get_vocab_base_pre`` does) and never by running code from the checkpoint.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dslocal.errors import CheckpointError

from .config import short_repr

FILE = "tokenizer.json"
# a token in the vocabularies of the R1 distills; llama.cpp has a name of its own for Qwen's
R1_TOKEN = "<｜User｜>"  # noqa: S105
MORE = "…"  # at the end of a pattern that is known by its beginning


class PreTokenizer(NamedTuple):
    """What one of llama.cpp's pre-tokenizers does.

    ``patterns`` are the regexes of the Split steps in order; ``single_digits`` says that a Digits
    step then cuts digits one by one.
    """

    patterns: tuple[str, ...]
    single_digits: bool = False


_CJK = "[一-龥ࠀ-一가-\ud7ff]+"
_WORDS = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*"
    "|\\s*[\r\n]+"
    "|\\s+(?!\\S)"
    "|\\s+"
)
_GPT4 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    "|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+"
    "|{digits}"
    "| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+"
    "|\\s+(?!\\S)"
    "|\\s+"
)
# Source: llama.cpp, src/llama-vocab.cpp (``llm_tokenizer_bpe``), and the vendors' files.
# deepseek-llm's list of letters is long, so that step is known by its beginning.
PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    "deepseek-v3": PreTokenizer(("\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _WORDS)),
    "deepseek-llm": PreTokenizer(
        (
            "[\r\n]",
            "\\s?[A-Za-zµÀ-ÖØ-öø-ƺ…",
            "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
            "\\s+$",
            _CJK,
        ),
        single_digits=True,
    ),
    "deepseek-coder": PreTokenizer(
        ("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", _CJK), single_digits=True
    ),
    "llama-bpe": PreTokenizer((_GPT4.format(digits="\\p{N}{1,3}"),)),
    "qwen2": PreTokenizer((_GPT4.format(digits="\\p{N}"),)),
}


def pre_tokenizer_name(tokenizer: dict[str, Any], *, is_r1_distill: bool) -> str:
    """Return llama.cpp's name of a tokenizer's pre-tokenizer.

    Args:
        tokenizer: The content of tokenizer.json.
        is_r1_distill: Whether its added tokens are those of an R1 distill.

    Raises:
        CheckpointError: A step or a regex is not one that llama.cpp has.
    """
    wanted = _read_steps(tokenizer.get("pre_tokenizer"))
    for name, known in PRE_TOKENIZERS.items():
        if _are_same(wanted, known):
            return "deepseek-r1-qwen" if name == "qwen2" and is_r1_distill else name
    raise CheckpointError(
        "splits text with regexes that llama.cpp does not know: "
        f"{short_repr(list(wanted.patterns), 200)}",
        file=FILE,
    )


def _read_steps(node: object) -> PreTokenizer:
    """Read the steps of a pre-tokenizer, which must end in bytes. Raises CheckpointError."""
    patterns: list[str] = []
    digits = byte_level = False
    for step in pipeline_steps(node, "pretokenizers"):
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
                    "has a pre-tokenizer step that llama.cpp does not know: "
                    f"{short_repr(step, 120)}",
                    file=FILE,
                )
    if not byte_level:
        raise CheckpointError("is not byte-level", file=FILE)
    return PreTokenizer(tuple(patterns), digits)


def pipeline_steps(node: object, key: str) -> list[object]:
    """Return the steps of a part of a tokenizer's pipeline, which may be one step by itself.

    Args:
        node: The part, such as tokenizer.json's ``pre_tokenizer``.
        key: What a sequence calls its steps, such as ``pretokenizers``.
    """
    match node:
        case None:
            return []
        case {"type": "Sequence"} if isinstance(node, dict) and isinstance(node.get(key), list):
            return list(node[key])
    return [node]


def _are_same(wanted: PreTokenizer, known: PreTokenizer) -> bool:
    return (
        wanted.single_digits == known.single_digits
        and len(wanted.patterns) == len(known.patterns)
        and all(map(_is_pattern, wanted.patterns, known.patterns))
    )


def _is_pattern(pattern: str, known: str) -> bool:
    if known.endswith(MORE):
        return pattern.startswith(known.removesuffix(MORE))
    return pattern == known
