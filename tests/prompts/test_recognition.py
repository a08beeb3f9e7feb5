"""Proves which family a GGUF is taken for, and why: headers of many converters
(tests/vectors/headers), names as people write them, vocabularies that are not DeepSeek's, and
metadata made to upset the reader.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.timing import at_most
from vectors.header_table import ROWS
from vectors.make_headers import imitate

from dslocal.errors import UnsupportedModelError, UsageError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.header_fields import Value
from dslocal.prompts.families import CAREFUL, FAMILIES
from dslocal.prompts.recognition import recognise_family

VECTORS = Path(__file__).parents[1] / "vectors"
HEADERS = VECTORS / "headers"
NAME = "its name"
TEMPLATE = "its chat template"
CARE = "its special tokens, because"
LARGEST = 60_000  # bytes of a stored header
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Taken:
    """A stored header, what it is taken for, the beginning of why, and what it may be as well."""

    file: str
    family: str
    why: str = NAME
    others: tuple[str, ...] = ()


STORED = (
    Taken("unsloth-r1", "r1"),
    Taken("unsloth-r1-0528", "r1-0528"),
    Taken("unsloth-v3-0324", "v3-0324"),
    Taken("unsloth-v3.1", "v3.1"),
    Taken("ubergarm-v3.1-terminus", "v3.1"),
    Taken("ubergarm-v3-0324", "v3-0324"),
    Taken("thireus-r1-0528", "r1-0528"),
    Taken("fairydreaming-v3", "v3"),
    Taken("ollama-r1-671b", "r1", TEMPLATE),
    Taken("nameless-v3", "v3", TEMPLATE),
    Taken("nameless-v3-0324", "v3-0324", TEMPLATE),
    Taken("nameless-v3.1", "v3.1", TEMPLATE),
    Taken("bare-r1-vocabulary", "r1", CARE, ("r1-0528", "v3.1", "v3", "base-fim")),
    Taken("bare-v3-vocabulary", "v3", CARE, ("base-fim",)),
    Taken("bare-v2-vocabulary", "v2", CARE, ("v2.5", "base-fim")),
    Taken("bare-llm-vocabulary", "llm", CARE, ("base",)),
    Taken("ollama-r1-7b", "r1"),
    Taken("ollama-r1-70b", "r1"),
    Taken("mradermacher-r1-14b-uncensored", "r1"),
    Taken("lmstudio-r1-0528-qwen3-8b", "r1-0528"),
    Taken("ollama-coder-v2-16b", "coder-v2"),
    Taken("mzwing-v2-lite-chat", "v2"),
    Taken("hash-v2-lite-chat", "v2", TEMPLATE),
    Taken("leafspark-v2-chat", "v2"),
    Taken("v2.5-1210", "v2.5"),
    Taken("v2-chat-0628", "v2-0628"),
    Taken("coder-v2-0724", "v2.5"),
    Taken("opencodeinterpreter-ds", "coder", CARE, ("base-fim",)),
    Taken("ollama-coder", "coder", CARE, ("base-fim",)),
    Taken("thebloke-coder-6.7b", "coder"),
    Taken("llama.cpp-vocab-coder", "coder"),
    Taken("llama.cpp-vocab-llm", "llm"),
    Taken("thebloke-llm-67b", "llm"),
    Taken("math-7b-rl", "math"),
    Taken("prover-v1.5-rl", "prover-v1.5"),
    Taken("prover-v2-7b", "prover"),
    Taken("moe-16b-base", "base"),
    Taken("dslocal-r1", "r1"),
    Taken("dslocal-v2-lite-chat", "v2"),
    Taken("dslocal-llm-7b-chat", "llm"),
    Taken("dslocal-unnamed-qwen", "r1", CARE),
    Taken("llama.cpp-r1-7b-abliterated", "r1"),
    Taken("llama.cpp-r1-zero", "r1"),
    Taken("llama.cpp-v3.1-base", "base-fim"),
    Taken("llama.cpp-v2-lite", "base-fim"),
    Taken("llama.cpp-moe-16b-chat", "moe"),
    Taken("llama.cpp-coder-33b-instruct", "coder"),
    Taken("llama.cpp-finetune-of-r1-8b", "r1", "what it was made from"),
    Taken("v4-flash", "v4-0731"),
    Taken("v4-flash-preview", "v4"),
    Taken("v4-pro-0813", "v4-0731"),
    Taken("v4-flash-vision", "v4-0731"),
    Taken("v4-flash-base", "base-fim"),
    Taken("v4-nameless-0731", "v4-0731", TEMPLATE),
    Taken("v4-nameless-preview", "v4", TEMPLATE),
    Taken("v4-bare", "v4-0731", CARE, ("v4", "base-fim")),
    Taken("v4.1-flash", "v4.1"),
    Taken("v3.2", "v3.2"),
    Taken("v3.2-speciale", "v3.2-speciale"),
)
REFUSED = {
    **dict.fromkeys(
        ("kimi-k2", "glm-4.7-flash", "gigachat-20b", "llama-3", "qwen2.5"),
        "its vocabulary is not one of DeepSeek's",
    ),
}
R1 = "bare-r1-vocabulary"
V3 = "bare-v3-vocabulary"
V2 = "bare-v2-vocabulary"
LLM = "bare-llm-vocabulary"
CODER = "ollama-coder"
QWEN = "ollama-r1-7b"
QWEN3 = "lmstudio-r1-0528-qwen3-8b"
LLAMA = "ollama-r1-70b"
MOE = "moe-16b-base"
PROVER = "prover-v2-7b"
NAMED = (
    (QWEN, "DeepSeek-R1-Distill-Qwen-7B-abliterated", "r1"),
    (QWEN, "DeepSeek-R1-Distill-Qwen-7B-Math-v2", "r1"),
    (QWEN, "DeepCoder 14B Preview", "r1"),
    (LLAMA, "Medical LLM 8B Math", "r1"),
    (LLAMA, "R1 1776 Distill Llama 70B", "r1"),
    (QWEN3, "DeepSeek-R1-0528-Qwen3-8B", "r1-0528"),
    (QWEN3, "Josiefied-DeepSeek-R1-0528-Qwen3-8B-abliterated-v1", "r1-0528"),
    (QWEN3, "My tune of Qwen3 8B", "r1-0528"),
    (R1, "R1-1776", "r1"),
    (R1, "DeepSeek-R1-Zero", "r1"),
    (R1, "deepseek_r1", "r1"),
    (R1, "opensourcerelease_DeepSeek R1 Bf16", "r1"),
    (R1, "DeepSeek V3 0324 R1T Chimera", "r1"),
    (R1, "DeepSeek-TNG-R1T2-Chimera", "r1"),
    (R1, "DeepSeek-R1-671B-0528", "r1-0528"),
    (R1, "DeepSeek-V3.1-Terminus", "v3.1"),
    (R1, "DeepSeek-V3.1-Base", "base-fim"),
    (R1, "DeepSeek-V3.2-Exp", "v3.1"),
    (R1, "My tune v2", "r1"),
    (R1, "My tune v3.1", "r1"),
    (V3, "Deepseek-V3-0324", "v3-0324"),
    (V3, "DeepSeek Chat V3", "v3"),
    (V3, "DeepSeek-V3-1.58bit", "v3"),
    (V3, "DeepSeek-V3-Base", "base-fim"),
    (V3, "DeepSeek-Prover-V2-671B", "prover"),
    (V3, "DeepSeek-Prover-V2", "prover"),
    (PROVER, "DeepSeek-Prover-V2-7B", "prover"),
    (V2, "DeepSeek-V2", "base-fim"),
    (V2, "DeepSeek-V2-Lite", "base-fim"),
    (V2, "DeepSeek V2 Lite Bf16", "base-fim"),
    (V2, "DeepSeek-V2-Lite-Chat", "v2"),
    (V2, "DeepSeek-V2-Chat-0628", "v2-0628"),
    (V2, "DeepSeek-V2.5", "v2.5"),
    (V2, "DeepSeek-V2.5-1210", "v2.5"),
    (V2, "DeepSeek Coder V2 Lite Instruct", "coder-v2"),
    (V2, "DeepSeek-Coder-V2-Lite", "coder-v2"),
    (V2, "DeepSeek-Coder-V2-Lite-Base", "base-fim"),
    (V2, "DeepSeek-Coder-V2-Instruct-0724", "v2.5"),
    (LLM, "deepseek-llm-67b-chat", "llm"),
    (LLM, "deepseek-llm-7b-base", "base"),
    (LLM, "deepseek-math-7b-rl", "math"),
    (LLM, "DeepSeekMath-7B-Instruct", "math"),
    (LLM, "DeepSeek-Prover-V1.5-RL", "prover-v1.5"),
    (LLM, "DeepSeek-Prover-V1.5-SFT", "prover-v1.5"),
    (LLM, "DeepSeek-Prover-V1.5-Base", "base"),
    (LLM, "DeepSeek-Prover-V1", "prover-v1.5"),
    (CODER, "deepseek-coder-6.7b-instruct", "coder"),
    (CODER, "deepseek-coder-1.3b-base", "base-fim"),
    (CODER, "Magicoder S DS 6.7B", "coder"),
    (MOE, "deepseek-moe-16b-chat", "moe"),
)


def stored(file: str) -> GgufHeader:
    return read_header(HEADERS / f"{file}.gguf")


def altered(file: str, **general: Value) -> GgufHeader:
    """A stored header without its name, parts, origin and template; ``general`` (two underscores
    for a point) is put in.
    """
    header = stored(file)
    kept = {
        key: value
        for key, value in header.metadata.items()
        if not key.startswith(("general.", "tokenizer.chat"))
    }
    return replace(
        header,
        metadata={
            "general.architecture": header.architecture,
            **kept,
            **{f"general.{key.replace('__', '.')}": value for key, value in general.items()},
        },
    )


def test_every_stored_header_is_in_the_table() -> None:
    files = {path.stem: path.stat().st_size for path in HEADERS.glob("*.gguf")}
    assert set(files) == {case.file for case in STORED} | set(REFUSED)
    assert max(files.values()) < LARGEST
    described = re.findall(
        r"(?m)^\| `(.+?)` \|", (HEADERS / "README.md").read_text(encoding="utf-8")
    )
    assert sorted(described) == sorted(files)
    assert {case.family for case in STORED} == set(FAMILIES) - {
        "nano"
    }  # nano's own shape: test_nano


def test_stored_headers_are_what_their_table_says(tmp_path: Path) -> None:
    for row in ROWS:
        imitate(row, tmp_path / row.file)
        assert (tmp_path / row.file).read_bytes() == (HEADERS / f"{row.file}.gguf").read_bytes(), (
            row.file
        )


@pytest.mark.parametrize("case", STORED, ids=lambda case: case.file)
def test_stored(case: Taken) -> None:
    taken = recognise_family(stored(case.file))
    assert (taken.family.name, taken.others) == (case.family, case.others)
    assert taken.why.startswith(case.why)
    assert all(other in taken.why for other in case.others)


@pytest.mark.parametrize(("file", "words"), REFUSED.items(), ids=REFUSED)
def test_refused(file: str, words: str) -> None:
    header = stored(file)
    with pytest.raises(UnsupportedModelError, match=re.escape(words)) as caught:
        recognise_family(header)
    assert header.text("general.name") in str(caught.value)
    assert recognise_family(header, "r1").family.name == "r1"  # --family takes one's word for it


@pytest.mark.parametrize(("file", "name", "family"), NAMED, ids=[name for _, name, _ in NAMED])
def test_names_as_people_write_them(file: str, name: str, family: str) -> None:
    assert recognise_family(altered(file, name=name)).family.name == family


@pytest.mark.parametrize(("file", "name", "family"), NAMED, ids=[name for _, name, _ in NAMED])
def test_a_name_that_says_nothing_leaves_its_parts_and_its_origin(
    file: str, name: str, family: str
) -> None:
    assert recognise_family(altered(file, name=".", basename=name)).family.name == family
    if not FAMILIES[family].is_base:
        assert (
            recognise_family(altered(file, name=".", base_model__0__name=name)).family.name
            == family
        )


def test_what_is_made_from_a_base_model_is_not_one() -> None:
    taken = recognise_family(altered(R1, name="Tuned", base_model__0__name="DeepSeek V3.1 Base"))
    assert (taken.family.name, taken.why[: len(CARE)]) == ("r1", CARE)


def test_a_name_goes_before_a_template_that_was_put_in() -> None:
    header = stored("unsloth-r1")
    header.metadata["tokenizer.chat_template"] = stored("nameless-v3").metadata[
        "tokenizer.chat_template"
    ]
    assert recognise_family(header).family.name == "r1"


@pytest.mark.parametrize(
    "template", sorted(path.stem for path in (VECTORS / "templates").glob("*r1*.jinja"))
)
def test_no_template_of_r1_is_taken_for_v3(template: str) -> None:
    header = altered(R1)
    header.metadata["tokenizer.chat_template"] = (
        VECTORS / "templates" / f"{template}.jinja"
    ).read_text(encoding="utf-8")
    assert recognise_family(header).family.name == ("r1-0528" if "0528" in template else "r1")


def test_unsloths_layout_of_a_template_is_known() -> None:
    header = altered(R1)
    header.metadata["tokenizer.chat_template"] = stored("unsloth-r1-0528").metadata[
        "tokenizer.chat_template"
    ]
    assert recognise_family(header).family.name == "r1-0528"


def test_a_template_of_nobody_leaves_the_careful_reading() -> None:
    header = altered(R1)
    header.metadata["tokenizer.chat_template"] = (
        "{% for m in messages %}<｜User｜>{{ m.content }}{% endfor %}<｜Assistant｜>"
    )
    assert recognise_family(header).why.startswith(CARE)


def test_nano(nano: Path) -> None:
    taken = recognise_family(read_header(nano))
    assert (taken.family.name, taken.why) == ("nano", "its shape")


@pytest.mark.parametrize("family", FAMILIES)
def test_asked_for(family: str) -> None:
    for asked in (family, family.upper()):
        taken = recognise_family(stored("ollama-coder"), asked)
        assert (taken.family.name, taken.why, taken.others) == (family, "it was asked for", ())


@pytest.mark.parametrize("asked", ["", "r2", "R1 ", "x" * 10_000, "\x1b[2J", "r1\n"])
def test_asked_for_one_that_is_not_there(asked: str) -> None:
    with pytest.raises(UsageError) as caught:
        recognise_family(stored("unsloth-r1"), asked)
    assert set(FAMILIES) <= set((caught.value.hint or "").removeprefix("known: ").split(", "))
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_families_and_their_signs_are_well_formed() -> None:
    assert {family.name for family in CAREFUL} <= set(FAMILIES)
    for name, family in FAMILIES.items():
        assert name == name.lower() == family.name
        re.compile(family.signs.name)
        re.compile(family.signs.template)


TEMPLATE_KEY, TOKENS_KEY = "tokenizer.chat_template", "tokenizer.ggml.tokens"
MANY = 1_000_000
HOSTILE: dict[
    str, tuple[dict[str, Value], str]
] = {  # what is put in the header "unsloth-r1", and the family; empty for none
    "name of 1 MB": ({"general.name": "v3 " * (MANY // 3)}, "r1"),
    "name of 1 MB of dashes": ({"general.name": "-" * MANY + "deepseek v3"}, "r1"),
    "name of regex characters": ({"general.name": r"(DeepSeek-R1)+*[?\b.{9}$("}, "r1"),
    "name of control characters": ({"general.name": "\x1b[2J\x00\r\nDeepSeek\x07V3"}, "v3"),
    "name of two alphabets": ({"general.name": "ＤｅｅｐＳｅｅｋ－Ｒ１ ＤeepSeek-R1"}, "r1"),
    "name is a number": ({"general.name": 7, "general.basename": [1, 2]}, "r1"),
    "origin is a list": ({"general.name": "", "general.base_model.0.name": ["DeepSeek V3"]}, "r1"),
    "template of 1 MB": ({"general.name": "", TEMPLATE_KEY: "<" * MANY}, "r1"),
    "template of 1 MB of statements": (
        {"general.name": "", TEMPLATE_KEY: "is_last_use think " * (MANY // 18)},
        "r1",
    ),
    "template is a list": ({"general.name": "", TEMPLATE_KEY: ["</think>"]}, "r1"),
    "tokens missing": ({TOKENS_KEY: []}, ""),
    "tokens are numbers": ({TOKENS_KEY: [0, 1, 2]}, ""),
    "tokens are a text": ({TOKENS_KEY: "<｜User｜> <｜Assistant｜> <think> </think>"}, ""),
    "tokens lack the thought's": (
        {
            TOKENS_KEY: ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"],
            "general.name": "DeepSeek R1",
        },
        "v2",
    ),
    "a million tokens": ({TOKENS_KEY: [str(i) for i in range(MANY)]}, ""),
    "architecture is a number": ({"general.architecture": 2}, ""),
    "architecture of 1 MB": ({"general.architecture": "\x1b[2J\n" * (MANY // 5)}, ""),
    "architecture of another case": ({"general.architecture": "DeepSeek2"}, ""),
    "no name, no architecture": ({"general.architecture": "", "general.name": ""}, ""),
    "shape of nano": (
        {"deepseek2.embedding_length": 256, "deepseek2.context_length": 4096},
        "nano",
    ),
    "shape of nano in texts": (
        {"deepseek2.embedding_length": "256", "deepseek2.context_length": "4096"},
        "r1",
    ),
}


@pytest.mark.parametrize(("change", "family"), HOSTILE.values(), ids=HOSTILE)
def test_hostile(change: dict[str, Value], family: str) -> None:
    header = altered("unsloth-r1", basename="DeepSeek-R1")
    header.metadata.update(change)
    if not change.get("general.name", "x"):
        del header.metadata["general.basename"]
    if family:
        taken = recognise_family(header)
        assert taken.family.name == family
        words = taken.why
    else:
        with pytest.raises(UnsupportedModelError) as caught:
            recognise_family(header)
        words = str(caught.value)
    assert len(words) < 400
    assert words.isprintable()


@pytest.mark.timed
@pytest.mark.parametrize(("change", "family"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_take_no_time(change: dict[str, Value], family: str) -> None:
    header = altered("unsloth-r1", basename="DeepSeek-R1")
    header.metadata.update(change)
    with at_most(PATIENCE_S), contextlib.suppress(UnsupportedModelError):
        recognise_family(header)


def test_empty_header() -> None:
    with pytest.raises(UnsupportedModelError, match="'unnamed' \\(no architecture\\)"):
        recognise_family(GgufHeader(3, {}, (), 0))
