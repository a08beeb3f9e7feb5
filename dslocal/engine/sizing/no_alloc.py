"""Get the memory that a model takes from llama.cpp itself, without loading the model.

llama.cpp sizes a model from its header alone (``no_alloc``). It aborts the process over some
headers, so a child process does it, and whatever happens to it becomes an EngineError. The weights
need not be there: a sparse file that has only the header will do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dslocal.errors import EngineError
from dslocal.gguf.parts import read_parts
from dslocal.plan.load_config import DeviceShare, GpuKind, LoadConfig, MemoryUse
from dslocal.plan.memory.footprint import overhead
from dslocal.plan.memory.model_shape import ModelShape
from dslocal.plan.memory.shape import shape_of

TIMEOUT_S = 30.0
MAX_CAUSE = 300  # characters of what the child said
_HINT = "the plan's own estimate is used; download the file again if it is damaged"
_REASON = re.compile(r"GGML_ASSERT|Error|error|terminate|what\(\)")


def exact_memory_use(
    path: Path, load_config: LoadConfig, *, gpu: GpuKind = "cuda", timeout: float = TIMEOUT_S
) -> MemoryUse:
    """Return the bytes that llama.cpp would take for a file.

    Args:
        path: the GGUF file, or the first of its parts.
        load_config: how it would be loaded.
        gpu: whose overhead is added; llama.cpp does not know it, so it is the planner's.
        timeout: seconds to wait.

    Raises:
        GgufError: the header is damaged.
        EngineError: llama.cpp refuses, dies or takes longer than ``timeout``.
    """
    return exact_memory_uses(path, [load_config], gpu=gpu, timeout=timeout)[0]


def exact_memory_uses(
    path: Path,
    load_configs: Sequence[LoadConfig],
    *,
    gpu: GpuKind = "cuda",
    timeout: float = TIMEOUT_S,
) -> list[MemoryUse]:
    """Return the same for several ways to load one file, asked in one child process."""
    shape = shape_of(read_parts(path)[1])
    answers = _ask(path, load_configs, timeout)
    return [
        _memory_use(shape, load_config, answer, gpu)
        for load_config, answer in zip(load_configs, answers, strict=True)
    ]


def _ask(path: Path, load_configs: Sequence[LoadConfig], timeout: float) -> list[dict[str, Any]]:
    """Return the child's answer for each way to load the file. Raises EngineError."""
    question = {"path": str(path), "load_configs": [asdict(config) for config in load_configs]}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a module of our own
            [sys.executable, "-P", "-m", f"{__package__}.no_alloc_child"],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"{path.name}: llama.cpp did not finish sizing it in {timeout:g} seconds", hint=_HINT
        ) from None
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if error := answer.get("error"):
            raise EngineError(f"{path.name}: llama.cpp refuses it: {error}")
    if len(answers) < len(load_configs):
        raise EngineError(
            f"{path.name}: llama.cpp crashed while sizing it: {_cause(done)}", hint=_HINT
        )
    return answers


def _cause(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what the child said that sounds like a reason, without llama.cpp's build path."""
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line]
    cause = lines[-1] if lines else f"exit status {done.returncode}"
    cause = next((line for line in lines if _REASON.search(line)), cause)
    return re.sub(r"^\S*/", "", cause)[:MAX_CAUSE]


def _memory_use(
    shape: ModelShape, load_config: LoadConfig, answer: dict[str, Any], gpu: GpuKind
) -> MemoryUse:
    buffers = answer["buffers"]
    return MemoryUse(
        weights=_device_share(buffers, "model"),
        kv=_device_share(buffers, "context"),
        compute=_device_share(buffers, "compute"),
        output=DeviceShare(0, answer["output"]),
        overhead=overhead(shape, load_config, gpu),
    )


def _device_share(buffers: Sequence[dict[str, Any]], part: str) -> DeviceShare:
    """Return the bytes of one part of all buffers, by device."""
    return DeviceShare(
        gpu=sum(buffer[part] for buffer in buffers if buffer["on_gpu"]),
        host=sum(buffer[part] for buffer in buffers if not buffer["on_gpu"]),
    )
