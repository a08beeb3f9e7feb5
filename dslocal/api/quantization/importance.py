"""Make an importance matrix of a model: evaluate a text, and sum the squares of its activations.

The sums are saved after some chunks, so that an interrupted run can be resumed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dslocal.convert.recipes.imatrix_sums import ImatrixSums, read_sums, write_sums
from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader, fingerprint
from dslocal.prompts import Family

from .auto_files import PART

if TYPE_CHECKING:
    from dslocal.api.loading import LoadModel
    from dslocal.engine import LlamaModel
    from dslocal.plan.load_config import LoadConfig

CHUNK_TOKENS = 512  # as llama-imatrix has it
SAVE_S = 20.0  # between two saves of what is summed so far

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImatrixJob:
    """What is measured.

    Attributes:
        model: The GGUF file.
        header: Its header.
        family: How the calibration text is prompted.
        out: The file to write.
        texts: Files that are evaluated as plain text; empty for dslocal's calibration text.
        max_tokens: Tokens to evaluate, rounded up to whole chunks; None for all.
        merged: Earlier matrices of the same model, which are added.
        resume: Whether an interrupted run is resumed.
        chunk_tokens: The tokens of a chunk; fewer where the model has fewer positions.
    """

    model: Path
    header: GgufHeader
    family: Family
    out: Path
    texts: tuple[Path, ...] = ()
    max_tokens: int | None = None
    merged: tuple[Path, ...] = ()
    resume: bool = False
    chunk_tokens: int = CHUNK_TOKENS

    @property
    def part(self) -> Path:
        """Return where the sums of an unfinished run are."""
        return self.out.with_name(self.out.name + PART)


@dataclass(frozen=True)
class ImatrixReport:
    """What was measured.

    Attributes:
        path: The file that was written.
        chunks: Chunks that were evaluated, including those of an interrupted run.
        chunk_tokens: The tokens of each.
        resumed_chunks: Chunks that an interrupted run had evaluated.
        tensors: How many matrices have sums.
        unseen_experts: The experts that no token reached, by layer.
        unmeasured: Matrices of the model that the text did not use, such as an MTP layer's.
    """

    path: Path
    chunks: int
    chunk_tokens: int
    resumed_chunks: int
    tensors: int
    unseen_experts: dict[int, list[int]]
    unmeasured: list[str]


def make_imatrix(job: ImatrixJob, load: LoadModel, on_progress: OnProgress) -> ImatrixReport:
    """Evaluate the text and write the matrix.

    Args:
        job: What is measured.
        load: Loads a model by a load config.
        on_progress: Receives how many chunks are evaluated, and how many there are.

    Raises:
        UsageError: The text is too short, or a matrix to merge or resume belongs to another model
            or run.
        DoesNotFitError: The model does not fit into this machine.
        KeyboardInterrupt: on Ctrl-C; what was saved can be resumed.
        EngineError: llama.cpp failed; what was saved can be resumed.
    """
    from dslocal.engine.activations.chunks import plan_chunks

    merged = [read_sums(path) for path in job.merged]
    config = plan_chunks(job.model, job.header, job.chunk_tokens)
    with load(job.model, config) as model:
        chunks = _chunks(job, model)
        matrix = _begin(job, chunks)
        resumed = matrix.chunks_done
        _evaluate(job, model, config, chunks, matrix, on_progress)
    for path, other in zip(job.merged, merged, strict=True):
        if other.chunk_size != matrix.chunk_size:
            raise UsageError(
                f"{path.name}: chunks of {other.chunk_size:,} tokens, these have "
                f"{matrix.chunk_size:,}"
            )
        matrix.merge(other)
    matrix.identity = ""
    write_sums(job.out, matrix)
    job.part.unlink(missing_ok=True)
    return ImatrixReport(
        job.out,
        len(chunks),
        matrix.chunk_size,
        resumed,
        len(matrix.entries),
        _unseen_experts(matrix),
        _unmeasured(job.header, matrix),
    )


def _chunks(job: ImatrixJob, model: LlamaModel) -> list[list[int]]:
    """Return the tokens to evaluate, in chunks."""
    from dslocal.engine.activations.chunks import bos_token, cut_into_chunks
    from dslocal.evaluation.calibration import calibration_ids, text_ids

    bos = bos_token(model)
    if job.texts:
        ids = text_ids(job.texts, model.encode_as_llama_cpp, bos)
    else:
        ids = calibration_ids(job.family, model, job.header.eos_token)
    size = min(job.chunk_tokens, model.n_ctx_train)
    return cut_into_chunks(ids, size, bos=bos, max_tokens=job.max_tokens)


def _begin(job: ImatrixJob, chunks: Sequence[Sequence[int]]) -> ImatrixSums:
    """Return the sums to add to: empty ones, or those of the run that is resumed."""
    from dslocal.evaluation.calibration import CALIBRATION

    tokens = np.array(chunks, np.int32).tobytes()
    content = b"\0".join((fingerprint(job.model).encode(), tokens))
    identity = hashlib.sha256(content).hexdigest()
    if job.resume and job.part.exists():
        matrix = read_sums(job.part)
        if matrix.identity != identity or not 0 < matrix.chunks_done <= len(chunks):
            raise UsageError(
                f"{job.part.name}: belongs to a run with another model, text or number of tokens",
                hint="leave out --resume to replace it",
            )
        return matrix
    names = tuple(str(path) for path in job.texts) or (CALIBRATION.title,)
    return ImatrixSums(len(chunks[0]), datasets=names, identity=identity)


def _evaluate(
    job: ImatrixJob,
    model: LlamaModel,
    config: LoadConfig,
    chunks: Sequence[Sequence[int]],
    matrix: ImatrixSums,
    on_progress: OnProgress,
) -> None:
    """Add the chunks that are not evaluated yet, and save the sums from time to time."""
    from dslocal.engine import LlamaContext
    from dslocal.engine.activations import ActivationCollector
    from dslocal.engine.activations.chunks import evaluate_chunk
    from dslocal.engine.graph import EvalCallback

    callback = EvalCallback(ActivationCollector(matrix))
    saved = time.monotonic()
    with LlamaContext(model, config, eval_callback=callback) as context:
        for chunk in chunks[matrix.chunks_done :]:
            evaluate_chunk(context, chunk)
            matrix.chunks_done += 1
            on_progress(matrix.chunks_done, len(chunks))
            if time.monotonic() - saved > SAVE_S:
                matrix.require_finite()
                write_sums(job.part, matrix)
                saved = time.monotonic()
    matrix.require_finite()


def _unseen_experts(matrix: ImatrixSums) -> dict[int, list[int]]:
    found: dict[int, set[int]] = {}
    for name, experts in matrix.unseen():
        found.setdefault(int(name.split(".")[1]), set()).update(experts)
    return {layer: sorted(experts) for layer, experts in sorted(found.items())}


def _unmeasured(header: GgufHeader, matrix: ImatrixSums) -> list[str]:
    return [name for name in _matrices(header) if name not in matrix.entries]


def _matrices(header: GgufHeader) -> Iterator[str]:
    """Yield the names of the matrices of blocks that a recipe may quantize."""
    for tensor in header.tensors:
        is_matrix = len([n for n in tensor.shape if n > 1]) > 1
        if is_matrix and tensor.name.startswith("blk.") and tensor.name.endswith(".weight"):
            yield tensor.name
