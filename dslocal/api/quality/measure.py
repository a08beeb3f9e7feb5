"""Compare models with a reference: score every token, and summarize the differences."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dslocal.api.arguments.argument_types import (
    FUNCTION,
    PATH,
    PATHS,
    TEXT,
    WHOLE_NUMBER,
    require,
)
from dslocal.errors import EngineError, UnsupportedModelError, UsageError
from dslocal.evaluation.divergence.figures import QualityFigures, figures
from dslocal.evaluation.divergence.log_probabilities import SCORE, Floats, RowWorker, Scores
from dslocal.evaluation.divergence.reference_file import PART, ReferenceFile
from dslocal.evaluation.divergence.score_file import read_scores, write_scores
from dslocal.files import is_file
from dslocal.home.paths import quality_dir
from dslocal.plan.machine.probe import usable_cores

from .compared import ComparedModel, EvaluatedText, Hooks, require_same_vocabulary
from .reference import (
    KEY_DIGITS,
    ReferenceJob,
    evaluate_reference,
    open_kept,
    reference_identity,
    with_bos,
)

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.plan.load_config import LoadConfig

SAVE_S = 20.0  # between two saves of the scores so far
SUFFIX = ".scores"


@dataclass(frozen=True)
class Quality:
    """The differences between a model and its reference.

    Attributes:
        name: The name of its file, with the quantization.
        path: The file.
        nbytes: The bytes of the file, or of all its parts.
        bits_per_weight: The file's size in bits, over the number of weights.
        figures: What was measured.
    """

    name: str
    path: Path
    nbytes: int
    bits_per_weight: float
    figures: QualityFigures

    def as_json(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return {
            "name": self.name,
            "path": str(self.path),
            "bytes": self.nbytes,
            "bits_per_weight": round(self.bits_per_weight, 4),
            **self.figures.as_json(),
        }


def quality(
    model: str | Path,
    *,
    reference: str | Path,
    text: Sequence[str | Path] = (),
    tokens: int | None = None,
    n_ctx: int | None = None,
    family: str | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Quality:
    """Measure a model against a reference, with llama-perplexity's protocol and figures.

    The reference is evaluated once; its log-probabilities are kept in the cache. The next call with
    the same arguments continues an interrupted one.

    Args:
        model: a name, a GGUF file, or a checkpoint folder.
        reference: the same model in full precision, or a file of log-probabilities that
            ``dslocal quality -o`` or ``llama-perplexity --kl-divergence-base`` wrote.
        text: files that are evaluated as plain text. By default conversations that ship with
            dslocal, in the reference's prompt format.
        tokens: evaluate at most this many, rounded up to whole chunks. By default all.
        n_ctx: tokens of a chunk; the second half is scored. By default 512.
        family: the family to prompt the reference as, if its file does not say it.
        on_progress: receives the name of the model that is evaluated, how many chunks are done, and
            how many there are.
        on_notice: receives lines that a user should see. Without it they are logged as warnings
            of the logger ``dslocal``.

    Returns:
        The figures: ``quality(…).figures.kl.mean`` is the mean KL divergence in nats.

    Raises:
        NotFoundError: a model or file does not exist.
        UsageError: the vocabularies differ, the text is too short, or an argument is out of range.
        DoesNotFitError: a model does not fit into this machine.
        DslocalError: the disk is full, or llama.cpp refuses a file.
    """
    require(PATH, model=model, reference=reference)
    require(PATHS, text=text)
    require(WHOLE_NUMBER.or_none, tokens=tokens, n_ctx=n_ctx)
    require(TEXT.or_none, family=family)
    require(FUNCTION.or_none, on_progress=on_progress, on_notice=on_notice)
    notice = on_notice or logging.getLogger("dslocal").warning
    hooks = Hooks(_load, on_progress or (lambda what, done, of: None), notice)
    files = tuple(Path(file) for file in text)
    compared = find_model(str(model), notice)
    with ExitStack() as opened:
        if is_kept_reference(reference):
            against = opened.enter_context(open_kept(Path(reference)))
        else:
            found = find_model(str(reference), notice)
            evaluated = EvaluatedText(files, n_ctx, tokens)
            job = reference_job([compared], found, evaluated, family)
            against = opened.enter_context(evaluate_reference(job, hooks))
        return measure(compared, against, hooks)


def is_kept_reference(reference: str | Path) -> bool:
    """Return whether a reference is a file of log-probabilities, by its first bytes."""
    from dslocal.evaluation.divergence.reference_file import MAGIC

    try:
        path = Path(reference)
        if not is_file(path):  # reading a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def find_model(name: str, on_notice: Callable[[str], None]) -> ComparedModel:
    """Return the model that ``name`` means, converted if it has to be.

    Args:
        name: A name, a GGUF file, or a checkpoint folder.
        on_notice: Receives lines that a user should see.

    Raises:
        NotFoundError: It does not exist.
        DslocalError: The file is damaged.
    """
    from dslocal.catalog import conversion_cache

    return read_compared(conversion_cache.ensure_gguf(name, on_notice=on_notice))


def read_compared(path: Path) -> ComparedModel:
    """Read a GGUF file's header.

    Raises:
        GgufError: The file is damaged.
    """
    from dslocal.api.model_file import require_sound
    from dslocal.gguf.parts import read_parts

    header = read_parts(path)[1]
    require_sound(path.name, header)
    return ComparedModel(path, header)


def reference_job(
    models: Sequence[ComparedModel],
    reference: ComparedModel,
    text: EvaluatedText,
    family: str | None,
) -> ReferenceJob:
    """Return the reference of a measurement, after checking that the models can be compared with
    it.

    Args:
        models: The models that will be measured.
        reference: The reference.
        text: What it evaluates.
        family: How it is prompted; None recognises the family.

    Raises:
        UsageError: A model has another vocabulary.
        UnsupportedModelError: The text that ships cannot be prompted: no family fits.
    """
    from dslocal.api.model_file import read_family

    n_vocab, known = len(reference.header.tokens()), reference.vocabulary_hash()
    for model in models:
        require_same_vocabulary(model, reference.name, n_vocab, known)
    if text.files:
        return ReferenceJob(reference, text)
    try:
        return ReferenceJob(
            ComparedModel(reference.path, *read_family(reference.path, family)), text
        )
    except UnsupportedModelError as e:
        raise UnsupportedModelError(
            str(e), hint="use --text FILE, which works with any model"
        ) from e


def _load(path: Path, config: LoadConfig) -> LlamaModel:
    from dslocal.engine import LlamaModel

    return LlamaModel(path, config)


def measure(model: ComparedModel, reference: ReferenceFile, hooks: Hooks) -> Quality:
    """Return the differences between a model and a reference.

    Scores that an earlier run kept in the cache are used.

    Raises:
        UsageError: The vocabularies differ, or the model has fewer positions than a chunk.
        DoesNotFitError: The model does not fit into this machine.
        KeyboardInterrupt: on Ctrl-C; the next run continues.
        EngineError: llama.cpp failed; the next run continues.
    """
    name = reference.path.name if reference.seal is None else reference.seal.model
    known = None if reference.seal is None else reference.seal.vocabulary
    require_same_vocabulary(model, name, reference.shape.n_vocab, known)
    positions = model.header.of_arch("context_length", reference.shape.n_ctx)
    if reference.shape.n_ctx > positions:
        raise UsageError(
            f"{model.path.name}: has {positions:,} positions, and the reference's chunks have "
            f"{reference.shape.n_ctx:,} tokens",
            hint="use a smaller --ctx",
        )
    scores = _scores(model, reference, hooks)
    return Quality(
        model.name,
        model.path,
        model.header.file_size,
        model.header.bits_per_weight,
        figures(scores),
    )


def _scores(model: ComparedModel, reference: ReferenceFile, hooks: Hooks) -> Scores:
    """Return the scores of all tokens, and compute those that are not kept."""
    known = f"{model.content_hash()}\0{reference_identity(reference)}"
    identity = hashlib.sha256(known.encode()).hexdigest()
    folder = quality_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model.name}-{identity[:KEY_DIGITS]}{SUFFIX}"
    shape = reference.shape
    kept = read_scores(path, identity)[: shape.n_chunks * shape.rows]
    done = len(kept) // shape.rows
    if done == shape.n_chunks:
        return kept
    scores = np.zeros(shape.n_chunks * shape.rows, SCORE)
    scores[: done * shape.rows] = kept[: done * shape.rows]
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    saved = time.monotonic()

    def on_chunk(chunks: int) -> None:
        nonlocal saved
        is_last = chunks == shape.n_chunks
        if is_last or time.monotonic() - saved > SAVE_S:
            write_scores(path, identity, scores[: chunks * shape.rows], beside=part)
            saved = time.monotonic()
        hooks.on_progress(model.name, chunks, shape.n_chunks)

    _evaluate(model, reference, scores, done, hooks, on_chunk)
    return scores


def _evaluate(
    model: ComparedModel,
    reference: ReferenceFile,
    scores: Scores,
    done: int,
    hooks: Hooks,
    on_chunk: Callable[[int], None],
) -> None:
    """Fill in the scores of all chunks from ``done`` on."""
    from dslocal.engine import LlamaContext
    from dslocal.engine.activations.chunks import bos_token, evaluate_chunk, plan_chunks

    shape = reference.shape
    first = shape.first_scored
    config = plan_chunks(model.path, model.header, shape.n_ctx, logits_from=first)
    with (
        hooks.load(model.path, config) as loaded,
        LlamaContext(loaded, config) as context,
        RowWorker(usable_cores()) as worker,
    ):
        bos = bos_token(loaded)
        for chunk in range(done, shape.n_chunks):
            tokens = reference.tokens[chunk]
            found = scores[chunk * shape.rows : (chunk + 1) * shape.rows]

            def score(
                position: int, logits: Floats, chunk: int = chunk, found: Scores = found
            ) -> None:
                row = position - first
                used = logits[: shape.rows - row]
                packed = reference.read_rows(chunk, row, len(used))
                following = reference.tokens[chunk, position + 1 :][: len(used)]
                found[row : row + len(used)] = worker.score(used, packed, following)

            evaluate_chunk(context, with_bos(tokens, bos), logits_from=first, on_logits=score)
            if not np.isfinite(found["kl"]).all() or not np.isfinite(found["nll"]).all():
                raise EngineError(f"{model.path.name}: chunk {chunk + 1}: logits are not numbers")
            on_chunk(chunk + 1)
