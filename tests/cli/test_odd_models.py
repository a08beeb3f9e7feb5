"""Prove that every command that takes a model says what a file is that is no model.

The kinds are in tests/gguf/test_other_files.py and tests/hostile/checkpoint/; here each
command meets one of each sort, in one line, with the right exit code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoints.damage import split_shard, without
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.cli.running import Run

from dslocal import catalog

LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4683073536\n"
)
COMMANDS: dict[str, list[str]] = {
    "ask": ["ask", "-m", "MODEL", "hi"],
    "serve": ["serve", "MODEL", "--port", "0"],
    "show": ["show", "MODEL"],
    "fit": ["fit", "MODEL"],
    "bench": ["bench", "MODEL"],
    "import": ["import", "MODEL"],
    "convert": ["convert", "MODEL"],
}


def pointer(folder: Path) -> Path:
    (folder / "x.gguf").write_bytes(LFS)
    return folder / "x.gguf"


def piece(folder: Path) -> Path:
    (folder / "x.gguf.part2of2").write_bytes(bytes(range(256)))
    return folder / "x.gguf.part2of2"


def adapter(folder: Path) -> Path:
    (folder / "lora").mkdir()
    (folder / "lora/adapter_config.json").write_text('{"base_model_name_or_path": "org/Base"}')
    return folder / "lora"


def awq(folder: Path) -> Path:
    made = write_checkpoint(folder / "DeepSeek-V3-AWQ", "llama", hidden_size=32)
    config = json.loads((made / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq"}
    (made / "config.json").write_text(json.dumps(config))
    return made


def mistral(folder: Path) -> Path:
    (folder / "mistral").mkdir()
    (folder / "mistral/config.json").write_text('{"architectures": ["MistralForCausalLM"]}')
    return folder / "mistral"


# what is given, what every command says, and those that it is not for
KINDS: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...]]] = {
    "a pointer": (pointer, "a git-lfs pointer to 4.7 GB", ()),
    "a piece": (piece, "cat x.gguf.part1of2 x.gguf.part2of2 > x.gguf", ()),
    "an adapter": (adapter, "is a LoRA adapter, not a whole model (merge it into", ()),
    "quantized already": (awq, "already quantized with AWQ (use the original", ("import",)),
    "another family": (mistral, "is not an architecture that dslocal converts", ("import",)),
}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (command, kind)
        for kind, (_, _, others) in KINDS.items()
        for command in COMMANDS
        if command not in others
    ],
)
def test_every_command_names_it(run: Run, tmp_path: Path, command: str, kind: str) -> None:
    make, words, _ = KINDS[kind]
    model = make(tmp_path)
    args = [str(model) if arg == "MODEL" else arg for arg in COMMANDS[command]]
    done = run.inside(*args, cwd=tmp_path)
    assert done.returncode in (1, 2, 3), done.stderr
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_folder_above_a_checkpoint_names_it(run: Run, tmp_path: Path) -> None:
    below = tmp_path / "models--deepseek-ai--X" / "snapshots" / ("0" * 40)
    below.mkdir(parents=True)
    (below / "config.json").write_text("{}")
    done = run.inside("show", tmp_path / "models--deepseek-ai--X")
    assert (done.returncode, f"name that folder: {below}" in done.stderr.decode()) == (3, True)


def test_ask_says_what_its_conversion_left_out(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(catalog.load_registry()["nano"].folder, folder)
    (folder / "mtp.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    done = run.inside("ask", "-m", folder, "--seed", "1", "--final", "2 + 2")
    assert done.returncode == 0, done.stderr
    assert b"mtp.safetensors: not among the checkpoint's shards" in done.stderr


def test_fit_counts_no_mtp_layer_that_is_not_there(run: Run, tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "whole", "deepseek-v3", num_hidden_layers=2)
    lost = shutil.copytree(whole, tmp_path / "lost")
    without(*(name for name in tensor_names(lost) if name.startswith("model.layers.2.")))(lost)
    sizes = []
    for folder in (whole, lost):
        done = run.inside("fit", folder, "--json", "--quant", "Q8_0")
        assert done.returncode == 0, done.stderr
        sizes.append(json.loads(done.stdout)["disk_to_convert"])
    assert sizes[1] < sizes[0]


def tensor_names(folder: Path) -> list[str]:
    return list(split_shard((folder / "model.safetensors").read_bytes())[0])
