"""How much memory a model takes by llama.cpp's own account, without loading it.

llama.cpp sizes all its buffers with ``no_alloc`` and from the header alone. It aborts the process
over some headers, so a child process (:mod:`.no_alloc_child`) asks it, and whatever happens to the
child becomes an EngineError. The weights need not be there: a sparse file with the header alone
will do, see :func:`write_sparse_copy`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dslocal.errors import EngineError, GgufError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan.load_config import DeviceShare, GpuKind, LoadConfig, MemoryUse
from dslocal.plan.memory.footprint import overhead
from dslocal.plan.memory.shape import Shape, shape_of

TIMEOUT_S = 30.0
MAX_REASON = 300  # characters of what the child said
REASON = re.compile(r"GGML_ASSERT|Error|error|terminate|what\(\)")
SOURCE_FOLDER = re.compile(r"^\S*/")  # of the file that an assertion names, on the build machine
_HINT = "the plan's own arithmetic stands; damaged files should be fetched again"


def exact_memory_use(
    path: Path, load_config: LoadConfig, *, gpu: GpuKind = "cuda", timeout: float = TIMEOUT_S
) -> MemoryUse:
    """Return the bytes that llama.cpp would take for the file at ``path``.

    Args:
        path: A GGUF file, or its header alone.
        load_config: How it would be loaded.
        gpu: The kind of GPU, for the overhead, which llama.cpp does not know: it is the plan's.
        timeout: Seconds that llama.cpp may take.

    Raises:
        GgufError: if the header is damaged.
        EngineError: if llama.cpp refuses the file, dies, or takes too long.
    """
    return exact_memory_uses(path, [load_config], gpu=gpu, timeout=timeout)[0]


def exact_memory_uses(
    path: Path,
    load_configs: Sequence[LoadConfig],
    *,
    gpu: GpuKind = "cuda",
    timeout: float = TIMEOUT_S,
) -> list[MemoryUse]:
    """Return the same as :func:`exact_memory_use` for several configs, in one child process."""
    shape = shape_of(read_header(path))
    answers = _ask_child(path, load_configs, timeout)
    return [
        _memory_use(shape, load_config, answer, gpu)
        for load_config, answer in zip(load_configs, answers, strict=True)
    ]


def write_sparse_copy(header: GgufHeader, first_bytes: bytes, target: Path) -> Path:
    """Write a file that has a header, and a hole instead of weights.

    Args:
        header: The header of the original.
        first_bytes: The original's first bytes, at least its header.
        target: The file to write.

    Returns:
        ``target``.

    Raises:
        GgufError: if ``first_bytes`` do not hold the header.
    """
    if len(first_bytes) < header.data_start:
        raise GgufError(
            f"{target.name}: {len(first_bytes):,} bytes do not hold the header "
            f"of {header.data_start:,}"
        )
    with target.open("wb") as file:
        file.write(first_bytes[: header.data_start])
        file.truncate(header.file_size)
    return target


def _ask_child(
    path: Path, load_configs: Sequence[LoadConfig], timeout: float
) -> Iterator[dict[str, Any]]:
    """Yield the child's answer for each config, as :func:`.no_alloc_child.size_config` makes it."""
    configs = [asdict(load_config) for load_config in load_configs]
    question = json.dumps({"path": str(path), "load_configs": configs})
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
        reason = _reason_of_death(done)
        raise EngineError(f"{path.name}: llama.cpp died while sizing it: {reason}", hint=_HINT)


def _reason_of_death(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line on standard error that sounds like a reason, else the last one."""
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line]
    last = lines[-1] if lines else f"exit status {done.returncode}"
    reason = next((line for line in lines if REASON.search(line)), last)
    return SOURCE_FOLDER.sub("", reason)[:MAX_REASON]


def _memory_use(
    shape: Shape, load_config: LoadConfig, answer: dict[str, Any], gpu: GpuKind
) -> MemoryUse:
    buffers = answer["buffers"]
    return MemoryUse(
        weights=_share(buffers, "model"),
        kv=_share(buffers, "context"),
        compute=_share(buffers, "compute"),
        output=DeviceShare(0, answer["output"]),
        overhead=overhead(shape, load_config, gpu),
    )


def _share(buffers: Iterable[dict[str, Any]], part: str) -> DeviceShare:
    """Return the bytes of one part of all buffers, on the GPU and in RAM."""
    gpu = host = 0
    for buffer in buffers:
        if buffer["on_gpu"]:
            gpu += buffer[part]
        else:
            host += buffer[part]
    return DeviceShare(gpu, host)
