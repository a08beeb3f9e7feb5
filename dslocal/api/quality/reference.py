"""The reference of a measurement: its log-probabilities, read from the disk or evaluated now.

The cache names them by the content of the model, the tokens and the chunk size. An interrupted run
leaves a partial file, in which the next run finds the chunks that are done.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import DslocalError, NotFoundError, UsageError
from dslocal.evaluation.divergence.log_probabilities import Floats, RowWorker
from dslocal.evaluation.divergence.reference_file import (
    PART,
    ReferenceFile,
    ReferenceShape,
    create_reference,
    file_size,
    open_reference,
    tokens_hash,
)
from dslocal.evaluation.divergence.reference_seal import ReferenceSeal
from dslocal.files import decimal_size, is_file, is_folder, sampled_fingerprint
from dslocal.home.paths import quality_dir
from dslocal.plan.machine.probe import usable_cores

from .compared import ComparedModel, EvaluatedText, Hooks

KEY_DIGITS = 12
FORMAT = 1  # raised when the protocol changes, so that older log-probabilities are not used
SUFFIX = ".kld"


@dataclass(frozen=True)
class ReferenceJob:
    """The reference that models are compared with.

    Attributes:
        model: The reference model.
        text: What it evaluates.
        out: Where its log-probabilities are kept; None for the cache.
        overwrite: Whether ``out`` may be replaced.
    """

    model: ComparedModel
    text: EvaluatedText
    out: Path | None = None
    overwrite: bool = False


def open_kept(path: Path) -> ReferenceFile:
    """Open log-probabilities that dslocal or llama-perplexity has written.

    Raises:
        NotFoundError: The file does not exist.
        UsageError: It is of another kind, or damaged.
    """
    if not is_file(path):
        raise NotFoundError(f"{path}: no such file")
    reference = open_reference(path)
    if reference.missing_chunks():
        reference.close()
        raise UsageError(f"{path}: is damaged", hint="write it again")
    return reference


def reference_identity(reference: ReferenceFile) -> str:
    """Return a hash of what a reference's log-probabilities depend on."""
    if reference.seal is not None:
        return reference.seal.identity
    return sampled_fingerprint(reference.path)


def evaluate_reference(job: ReferenceJob, hooks: Hooks) -> ReferenceFile:
    """Return the log-probabilities of a model, and evaluate them if they are not kept.

    Raises:
        UsageError: The text is too short, or ``out`` exists and holds something else.
        DslocalError: The disk is full, or another process writes the same file.
        DoesNotFitError: The model does not fit into this machine.
        KeyboardInterrupt: on Ctrl-C; the next run continues.
        EngineError: llama.cpp failed; the next run continues.
    """
    from dslocal.engine import LlamaModel

    model = job.model
    with LlamaModel(model.path, header=model.header, vocab_only=True) as vocabulary:
        tokens = job.text.tokens_for(model, vocabulary)
        n_vocab = vocabulary.n_vocab
    seal = _seal(model, tokens, job.text)
    path = job.out or _cached_path(model, seal.identity)
    part = path.with_name(path.name + PART)
    kept = _open_whole(path, seal, part, replaces=job.out is None or job.overwrite)
    if kept is not None:
        return kept
    with ExitStack() as opened:
        partial = opened.enter_context(_open_partial(part, n_vocab, tokens, seal, hooks))
        missing = partial.missing_chunks()
        if missing:
            _evaluate(job, partial, missing, hooks)
        partial.finish(path)
        opened.pop_all()
    return partial


def _seal(model: ComparedModel, tokens: NDArray[np.int32], text: EvaluatedText) -> ReferenceSeal:
    ids = tokens_hash(tokens)
    known = f"{FORMAT}\0{model.content_hash()}\0{tokens.shape[1]}\0{ids}"
    return ReferenceSeal(
        identity=hashlib.sha256(known.encode()).hexdigest(),
        model=model.name,
        model_bytes=model.header.file_size,
        bits_per_weight=round(model.header.bits_per_weight, 4),
        vocabulary=model.vocabulary_hash(),
        text=text.names,
        tokens=ids,
    )


def _cached_path(model: ComparedModel, identity: str) -> Path:
    folder = quality_dir()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{model.name}-{identity[:KEY_DIGITS]}{SUFFIX}"


def _open_whole(
    path: Path, seal: ReferenceSeal, part: Path, *, replaces: bool
) -> ReferenceFile | None:
    """Return the kept file if it is whole; a damaged one becomes the partial file."""
    if not is_file(path):
        return None
    try:
        reference = open_reference(path)
    except UsageError:
        if not replaces:
            raise
        return None
    if not _is_of(reference, seal):
        reference.close()
        if not replaces:
            raise UsageError(
                f"{path}: was written with another model, text or --ctx",
                hint="add --force to replace it",
            )
        return None
    if not reference.missing_chunks():
        return reference
    reference.close()
    path.replace(part)
    return None


def _open_partial(
    part: Path, n_vocab: int, tokens: NDArray[np.int32], seal: ReferenceSeal, hooks: Hooks
) -> ReferenceFile:
    """Return the file that an interrupted run left, or a new one, whose size the user sees."""
    if is_file(part):
        try:
            found = open_reference(part, writable=True)
        except UsageError:
            pass  # nothing of it can be used
        else:
            if _is_of(found, seal) and np.array_equal(found.tokens, tokens):
                return found
            found.close()
        part.unlink()
    shape = ReferenceShape(tokens.shape[1], n_vocab, tokens.shape[0])
    _require_room(part.with_suffix(""), file_size(shape, seal), hooks)
    return create_reference(part, n_vocab, tokens, seal)


def _is_of(reference: ReferenceFile, seal: ReferenceSeal) -> bool:
    return reference.seal is not None and reference.seal.identity == seal.identity


def _require_room(path: Path, nbytes: int, hooks: Hooks) -> None:
    """Tell the user the size of a file. Raises DslocalError if the disk has no room for it."""
    if not is_folder(path.parent):
        raise NotFoundError(f"{path.parent}: no such folder")
    free = shutil.disk_usage(path.parent).free
    size = decimal_size(nbytes)
    if nbytes > free:
        raise DslocalError(
            f"{path}: the reference's log-probabilities take {size}, and only "
            f"{decimal_size(free)} are free",
            hint="use fewer --tokens, or -o FILE on another disk",
        )
    hooks.on_notice(f"the reference's log-probabilities take {size}: {path}")


def _evaluate(
    job: ReferenceJob, reference: ReferenceFile, missing: list[int], hooks: Hooks
) -> None:
    """Evaluate the chunks that are missing, and write their rows."""
    from dslocal.engine import LlamaContext
    from dslocal.engine.activations.chunks import bos_token, evaluate_chunk, plan_chunks

    shape, model = reference.shape, job.model
    first = shape.first_scored
    config = plan_chunks(model.path, model.header, shape.n_ctx, logits_from=first)
    done = shape.n_chunks - len(missing)
    with (
        hooks.load(model.path, config) as loaded,
        LlamaContext(loaded, config) as context,
        RowWorker(usable_cores()) as worker,
    ):
        bos = bos_token(loaded)
        for chunk in missing:

            def write(position: int, logits: Floats, chunk: int = chunk) -> None:
                row = position - first
                rows = worker.pack(logits[: shape.rows - row])
                reference.write_rows(chunk, row, rows)

            ids = with_bos(reference.tokens[chunk], bos)
            evaluate_chunk(context, ids, logits_from=first, on_logits=write)
            reference.seal_chunk(chunk)
            done += 1
            hooks.on_progress(f"reference {model.name}", done, shape.n_chunks)


def with_bos(tokens: NDArray[np.int32], bos: int | None) -> list[int]:
    """Return a chunk as it is evaluated: with BOS in place of its first token."""
    ids: list[int] = tokens.tolist()
    return ids if bos is None else [bos, *ids[1:]]
