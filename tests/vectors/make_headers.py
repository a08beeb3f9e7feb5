"""Make headers of GGUF files as different programs write them, for
tests/prompts/test_recognition.py: metadata, no weights, no tensor table.

    DSLOCAL_ORACLE=FOLDER PYTHONPATH=tests python tests/vectors/make_headers.py

FOLDER as tests/support/checkpoints/oracle.py says; without it the headers of llama.cpp's converter
are left as they are. Writes tests/vectors/headers/: the rows of header_table.py, and what dslocal's
and llama.cpp's converters make of the tests' tiny checkpoints, cut off where the tensor table
begins.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
from support.checkpoints import oracle
from support.checkpoints.damage import convert_to
from support.checkpoints.tiny_checkpoints import write_checkpoint
from vectors.header_table import EOS, ROWS, SHAPES, VOCABULARIES, Key, Row

from dslocal.gguf.header import read_header

OUT = Path(__file__).with_name("headers")
TEMPLATES = Path(__file__).with_name("templates")
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
SMALL_MLA = {
    **SMALL,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "num_hidden_layers": 2,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
}
N_TENSORS = slice(8, 16)  # bytes of the header


@dataclass(frozen=True)
class Converted:
    """A checkpoint of tests/support/checkpoints/tiny_checkpoints.py in a folder called ``name``,
    with ``card`` as its README.md.
    """

    file: str
    name: str
    kind: str
    changes: dict[str, Any] = field(default_factory=lambda: SMALL)
    card: str = ""


OURS = (
    Converted("dslocal-r1", "DeepSeek-R1", "deepseek-v3", SMALL_MLA),
    Converted("dslocal-v2-lite-chat", "DeepSeek-V2-Lite-Chat", "deepseek-v2-lite", {}),
    Converted("dslocal-llm-7b-chat", "deepseek-llm-7b-chat", "llama"),
    Converted("dslocal-unnamed-qwen", "checkpoint", "qwen2"),
)
THEIRS = (
    Converted(
        *("llama.cpp-r1-7b-abliterated", "DeepSeek-R1-Distill-Qwen-7B-abliterated", "qwen2", SMALL),
        (
            "---\nbase_model: deepseek-ai/DeepSeek-R1-Distill-Qwen-7B\nlicense: mit\ntags:\n-"
            " abliterated\n- uncensored\n---\n"
        ),
    ),
    Converted("llama.cpp-r1-zero", "DeepSeek-R1-Zero", "deepseek-v3", SMALL_MLA),
    Converted("llama.cpp-v3.1-base", "DeepSeek-V3.1-Base", "deepseek-v3", SMALL_MLA),
    Converted("llama.cpp-v2-lite", "DeepSeek-V2-Lite", "deepseek-v2-lite", {}),
    Converted(
        "llama.cpp-moe-16b-chat",
        "deepseek-moe-16b-chat",
        "deepseek-moe",
        {**SMALL, "n_routed_experts": 4},
    ),
    Converted("llama.cpp-coder-33b-instruct", "deepseek-coder-33b-instruct", "llama-linear"),
    Converted(
        *("llama.cpp-finetune-of-r1-8b", "Reasoner-8B-v2", "llama3", SMALL),
        "---\nbase_model: deepseek-ai/DeepSeek-R1-Distill-Llama-8B\n---\n",
    ),
)


def imitate(row: Row, out: Path) -> None:
    """Writes the file that ``row`` describes, its keys in the order that llama.cpp's converter
    has.
    """
    architecture, dimensions = SHAPES[row.shape]
    pre, vocabulary = VOCABULARIES[row.vocabulary]
    tokens, kinds = [token for token, _ in vocabulary], [kind for _, kind in vocabulary]
    writer = gguf.GGUFWriter(str(out), architecture)
    keys: dict[str, Key] = {f"general.{key}": value for key, value in row.general.items()}
    keys |= {f"{architecture}.{key}": value for key, value in dimensions.items()}
    keys |= {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
    }
    for key, value in keys.items():
        _add(writer, key, value)
    writer.add_array("tokenizer.ggml.token_type", kinds)
    writer.add_array("tokenizer.ggml.merges", ["Ġ t", "Ġt he"])
    if EOS in tokens:
        _add(writer, "tokenizer.ggml.eos_token_id", tokens.index(EOS))
    if row.template:
        template = (TEMPLATES / f"{row.template}.jinja").read_text(encoding="utf-8")
        _add(
            writer,
            "tokenizer.chat_template",
            altered(template) if row.file == "unsloth-r1-0528" else template,
        )
    for key, value in row.other.items():
        _add(writer, key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def altered(template: str) -> str:
    """As Unsloth lays templates out: a line to each statement, and white space taken off before
    it.
    """
    return template.replace("{% ", "{%- ").replace("%}{", "%}\n{")


def _add(writer: gguf.GGUFWriter, key: str, value: Key) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    else:
        writer.add_string(key, value)


def cut(path: Path, out: Path) -> None:
    """The header of ``path`` up to its tensor table, saying that it has no tensors."""
    data = bytearray(path.read_bytes())
    first = read_header(path).tensors[0].name.encode()
    end = data.index(struct.pack("<Q", len(first)) + first)
    data[N_TENSORS] = bytes(8)
    out.write_bytes(data[:end])


def converted(case: Converted, convert: Callable[[Path, Path], object]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = write_checkpoint(Path(temporary) / case.name, case.kind, **case.changes)
        if case.card:
            (checkpoint / "README.md").write_text(case.card, encoding="utf-8")
        whole = Path(temporary) / "whole.gguf"
        convert(checkpoint, whole)
        cut(whole, OUT / f"{case.file}.gguf")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for row in ROWS:
        imitate(row, OUT / f"{row.file}.gguf")
    for case in OURS:
        converted(case, convert_to)
    for case in THEIRS if oracle.ORACLE else ():
        converted(case, lambda checkpoint, out: oracle.convert(checkpoint, out, "bf16", mtp=False))


if __name__ == "__main__":
    main()
