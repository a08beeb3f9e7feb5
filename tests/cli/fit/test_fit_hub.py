"""Proves that ``dslocal fit hf:…`` plans for what is on a hub from its headers alone, and moves a
few megabytes for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.cli.running import Run
from support.gguf.published_shapes import write_header
from support.hub.hub_clients import hub_for_dslocal
from support.hub.local_hub import LocalHub

from dslocal.gguf.header import read_header

BIG = "qwen3-8b-words-Q8_0.gguf"
HASH = "ab" * 32
MOST = 12_000_000  # bytes


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with hub_for_dslocal(tmp_path / "hf") as running:
        yield running


def fitted(run: Run, *args: str | Path) -> dict[str, Any]:
    done = run.inside("fit", *args, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


PLAN = ("plan", "memory", "verdict", "lacking", "gave_up", "tokens_per_s", "quant")


def test_a_file_of_8_gb_costs_its_header(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    path = write_header(tmp_path, "qwen3-8b", recipe="Q8_0", words=True)
    size = path.stat().st_size
    assert size > 8e9
    hub.add("me/big-GGUF", {BIG: path}, sha256={BIG: HASH})
    far = fitted(run, f"hf:me/big-GGUF/{BIG}")
    assert read_header(path).data_start < hub.sent(BIG) < MOST
    assert hub.sent() < MOST
    near = fitted(run, path)
    assert {key: far[key] for key in PLAN} == {key: near[key] for key in PLAN}
    assert (far["download"], near["download"]) == (size, 0)
    assert not list((tmp_path / "hf").rglob("*.gguf"))


def test_the_largest_vocabulary_fits_too(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    path = write_header(tmp_path, "v3", words=True)
    hub.add("me/v3-GGUF", {"v3.gguf": path}, sha256={"v3.gguf": HASH})
    far = fitted(run, "hf:me/v3-GGUF/v3.gguf")
    assert hub.sent() < MOST
    assert far["memory"] == fitted(run, path)["memory"]
    assert far["verdict"] == "ssd"


def test_the_best_of_a_repository_that_runs(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    files = {
        quant: write_header(tmp_path, "qwen3-8b", recipe=quant)
        for quant in ("F16", "Q8_0", "Q4_K_M", "Q2_K")
    }
    names = {f"Qwen3-8B-{quant}.gguf": path for quant, path in files.items()}
    hub.add(
        "me/Qwen3-8B-GGUF", {**names, "mmproj-F16.gguf": b"GGUF"}, sha256=dict.fromkeys(names, HASH)
    )
    assert fitted(run, "hf:me/Qwen3-8B-GGUF")["quant"] == "Q4_K_M"  # Q8_0 runs, but slowly
    assert fitted(run, "hf:me/Qwen3-8B-GGUF", "--ram", "64GB", "--vram", "24GB")["quant"] == "Q8_0"
    assert fitted(run, "hf:me/Qwen3-8B-GGUF", "--quant", "Q2_K")["quant"] == "Q2_K"
    done = run.inside("fit", "hf:me/Qwen3-8B-GGUF", "--quant", "Q3_K_S")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"it has F16, Q2_K, Q4_K_M, Q8_0" in done.stderr


def test_all_parts_of_a_split_file_count(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    checkpoint, folder = write_checkpoint(tmp_path / "c", "deepseek-v3"), tmp_path / "split"
    folder.mkdir()
    for out, more in (
        (tmp_path / "whole.gguf", ()),
        (folder / "s.gguf", ("--split-size", "800KB")),
    ):
        assert (
            run.inside("convert", checkpoint, "-o", out, "--quant", "Q8_0", *more).returncode == 0
        )
    parts = sorted(folder.iterdir())
    assert len(parts) > 2
    hub.add("me/split-GGUF", folder)
    far, near = (
        fitted(run, f"hf:me/split-GGUF/{parts[0].name}"),
        fitted(run, tmp_path / "whole.gguf"),
    )
    assert far["download"] == sum(part.stat().st_size for part in parts)
    assert far["memory"]["weights"] == pytest.approx(near["memory"]["weights"], rel=0.001)
    assert far["memory"]["kv"] == near["memory"]["kv"]
    hub.commit("me/split-GGUF", {parts[1].name: None})
    done = run.inside("fit", f"hf:me/split-GGUF/{parts[0].name}")
    assert (done.returncode, parts[1].name.encode() in done.stderr) == (3, True)


def test_a_checkpoint_is_planned_by_its_config(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "v3-like", "deepseek-v3", dtype="fp8", shards=3)
    hub.add("test/v3-like", folder)
    far, near = (
        fitted(run, "test/v3-like", "--quant", "Q4_K_M"),
        fitted(run, folder, "--quant", "Q4_K_M"),
    )
    assert (far["memory"], far["plan"]) == (near["memory"], near["plan"])
    assert far["download"] == sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert hub.sent() < 20_000
    done = run.inside("fit", "hf:test/v3-like")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("hf:test/nothing", 3, "no such repository"),
        ("hf:test/v3-like/none.gguf", 3, "has no 'none.gguf'"),
        ("hf:test/v3-like@nothing", 3, "no such revision"),
        ("hf:test/v3-like/model.safetensors", 1, "not a GGUF file"),
        ("hf:test/v3-like/sub/notes.txt", 1, "but plain text that begins 'ab'"),
        ("hf:test/v3-like/empty.txt", 3, "is empty"),
        ("hf:nothing", 2, "not a name on the hub"),
        ("hf:a/../b", 2, "not a name on the hub"),
        ("hf:test/v3-like", 3, "has neither GGUF files nor a config.json with safetensors"),
    ],
)
def test_refused(run: Run, hub: LocalHub, name: str, code: int, said: str) -> None:
    if name == "hf:test/v3-like":
        hub.commit("test/v3-like", {"config.json": None})
    done = run.inside("fit", name)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1), done.stderr
    assert said in done.stderr.decode()


def test_names_that_are_here_ask_nobody(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    write_header(tmp_path, "qwen-7b").rename(tmp_path / "test")
    for name in ("nano", "deepseek-r1", "deepseek-ai/DeepSeek-R1", str(tmp_path / "test")):
        assert run.inside("fit", name, "--json").returncode == 0
    assert hub.requests == []


def with_files(tmp_path: Path, files: dict[str, str]) -> dict[str, Path]:
    """Files of a repository, which hold these texts."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return {name: tmp_path / name for name in files}


LLAMA = '{"architectures": ["LlamaForCausalLM"]}'
AWQ = '{"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "awq"}}'
ODD: dict[str, tuple[dict[str, str], int, str]] = {
    "quantized already": (
        {"config.json": AWQ, "model.safetensors": "x"},
        1,
        "already quantized with AWQ (use the original checkpoint: deepseek-ai/DeepSeek-X)",
    ),
    "an adapter": ({"adapter_config.json": "{}", "adapter_model.safetensors": "x"}, 3, "adapter"),
    "pickles": ({"config.json": "{}", "pytorch_model.bin": "x"}, 3, "holds pickled weights"),
    "ONNX": ({"config.json": "{}", "model.onnx": "x"}, 3, "an ONNX model"),
    "quantized already, by another file": (
        {"config.json": LLAMA, "model.safetensors": "x", "quantize_config.json": "{}"},
        1,
        "already quantized with GPTQ (use the original checkpoint: deepseek-ai/DeepSeek-X)",
    ),
    "an older tokenizer": (
        {"config.json": LLAMA, "model.safetensors": "x", "vocab.json": "", "merges.txt": ""},
        1,
        "tokenizer.json: is missing from the checkpoint, and dslocal reads no other tokenizer "
        "file; vocab.json and",
    ),
    "no tokenizer": (
        {"config.json": LLAMA, "model.safetensors": "x"},
        1,
        "tokenizer.json: is not in the repository",
    ),
    "another family": (
        {"config.json": '{"architectures": ["MistralForCausalLM"]}', "model.safetensors": "x"},
        1,
        "is not an architecture that dslocal converts",
    ),
    "nothing": ({"README.md": "x"}, 3, "has neither GGUF files nor"),
}


@pytest.mark.parametrize("command", [("fit",), ("pull", "--dry-run")], ids=["fit", "pull"])
@pytest.mark.parametrize(("files", "code", "words"), ODD.values(), ids=ODD)
def test_a_repository_of_another_kind_is_named(
    run: Run,
    hub: LocalHub,
    tmp_path: Path,
    files: dict[str, str],
    code: int,
    words: str,
    command: tuple[str, ...],
) -> None:
    hub.add("me/DeepSeek-X-AWQ", with_files(tmp_path, files))
    done = run.inside(*command, "hf:me/DeepSeek-X-AWQ")
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode()


@pytest.mark.parametrize("how", [(), ("--stream",)], ids=["whole", "streamed"])
def test_a_chat_template_in_a_file_is_fetched(
    run: Run, hub: LocalHub, tmp_path: Path, how: tuple[str, ...]
) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text("{{ mine }}")
    hub.add("me/template", folder)
    out = tmp_path / "x.gguf"
    done = run.inside("convert", "me/template", "-o", out, "--quant", "Q8_0", *how)
    assert done.returncode == 0, done.stderr
    assert read_header(out).text("tokenizer.chat_template") == "{{ mine }}"
