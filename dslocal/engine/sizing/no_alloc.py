"""What a model takes by llama.cpp's own reckoning, without loading it: ``no_alloc`` in a child
process, on the header alone.

llama.cpp aborts the process over some headers, so a child does it and whatever befalls it becomes
an EngineError. The weights need not be there: a sparse file that has only the header will do, see
:func:`write_sparse_copy`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dslocal.errors import EngineError, GgufError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan.load_config import DeviceShare, GpuKind, LoadConfig, MemoryUse
from dslocal.plan.memory.footprint import overhead
from dslocal.plan.memory.shape import Shape, shape_of

TIMEOUT_S = 30.0
_HINT = "the plan's own arithmetic stands; damaged files should be fetched again"


def exact_memory_use(
    path: Path, load_config: LoadConfig, *, gpu: GpuKind = "cuda", timeout: float = TIMEOUT_S
) -> MemoryUse:
    """Bytes that llama.cpp would take for the file at ``path``. Overhead, which it does not know,
    is the plan's for that ``gpu``.

    Raises GgufError for a header that is damaged, EngineError when llama.cpp refuses, dies or takes
    longer than ``timeout``.
    """
    return exact_memory_uses(path, [load_config], gpu=gpu, timeout=timeout)[0]


def exact_memory_uses(
    path: Path,
    load_configs: Sequence[LoadConfig],
    *,
    gpu: GpuKind = "cuda",
    timeout: float = TIMEOUT_S,
) -> list[MemoryUse]:
    """The same for several ways to load one file, in one child process."""
    shape = shape_of(read_header(path))
    return [
        _memory(shape, load_config, found, gpu)
        for load_config, found in zip(load_configs, _ask(path, load_configs, timeout), strict=True)
    ]


def write_sparse_copy(header: GgufHeader, first_bytes: bytes, target: Path) -> Path:
    """A file at ``target`` that has ``header``, whose first bytes in the original file are given,
    and a hole instead of weights.
    """
    if len(first_bytes) < header.data_start:
        raise GgufError(
            f"{target.name}: {len(first_bytes):,} bytes do not hold the header of {header.data_start:,}"
        )
    with target.open("wb") as file:
        file.write(first_bytes[: header.data_start])
        file.truncate(header.file_size)
    return target


def _ask(
    path: Path, load_configs: Sequence[LoadConfig], timeout: float
) -> Iterator[dict[str, Any]]:
    question = json.dumps(
        {"path": str(path), "loadings": [asdict(load_config) for load_config in load_configs]}
    )
    command = [sys.executable, "-P", "-m", f"{__package__}.no_alloc_child"]
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a module of our own
            command,
            input=question.encode(),
            capture_output=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"{path.name}: llama.cpp did not finish sizing it in {timeout:g} seconds", hint=_HINT
        ) from None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if error := answer.get("error"):
            raise EngineError(f"{path.name}: llama.cpp refuses it: {error}")
        yield answer
    if len(answers) < len(load_configs):
        raise EngineError(
            f"{path.name}: llama.cpp died while sizing it: {_cause(done)}", hint=_HINT
        )


def _cause(done: subprocess.CompletedProcess[bytes]) -> str:
    """What the child said last that sounds like a reason."""
    lines = [
        line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    told = next(
        (line for line in lines if re.search(r"GGML_ASSERT|Error|error|terminate|what\(\)", line)),
        "",
    )
    told = re.sub(
        r"^\S*/", "", told or (lines[-1] if lines else f"exit status {done.returncode}")
    )  # not where llama.cpp was built
    return told[:300]


def _memory(
    shape: Shape, load_config: LoadConfig, found: dict[str, Any], gpu: GpuKind
) -> MemoryUse:
    parts = {
        part: DeviceShare(
            *(
                sum(b[part] for b in found["buffers"] if b["on_gpu"] is there)
                for there in (True, False)
            )
        )
        for part in _PARTS
    }
    return MemoryUse(
        weights=parts["model"],
        kv=parts["context"],
        compute=parts["compute"],
        output=DeviceShare(0, found["output"]),
        overhead=overhead(shape, load_config, gpu),
    )


_PARTS = ("model", "context", "compute")
