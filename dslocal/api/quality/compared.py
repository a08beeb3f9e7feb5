"""The models that are compared, and the tokens that they are compared on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader, fingerprint
from dslocal.gguf.parts import read_parts
from dslocal.prompts import Family

if TYPE_CHECKING:
    from dslocal.api.loading import LoadModel
    from dslocal.engine import LlamaModel

N_CTX = 512  # tokens of a chunk, as in llama-perplexity
MIN_CTX = 8  # of which three tokens are scored: fewer say nothing

OnProgress = Callable[[str, int, int], None]
OnNotice = Callable[[str], None]


@dataclass(frozen=True)
class Hooks:
    """Functions that a measurement calls.

    Attributes:
        load: Loads a model by a load config.
        on_progress: Receives the name of the model, the number of its finished chunks, and the
            number of all.
        on_notice: Receives lines that a user should see.
    """

    load: LoadModel
    on_progress: OnProgress
    on_notice: OnNotice


@dataclass(frozen=True)
class ComparedModel:
    """A GGUF file that is measured, or that others are measured against.

    Attributes:
        path: The file.
        header: Its header, with the tensors of all parts.
        family: The family for dslocal's own conversations, if they are evaluated; None otherwise.
    """

    path: Path
    header: GgufHeader
    family: Family | None = None

    @property
    def name(self) -> str:
        """Return the file's name, with its quantization."""
        from dslocal.catalog import conversion_cache

        return conversion_cache.file_label(self.path)

    def content_hash(self) -> str:
        """Return a hash of the content of all files of the model."""
        files = read_parts(self.path)[0]
        return hashlib.sha256("".join(map(fingerprint, files)).encode()).hexdigest()

    def vocabulary_hash(self) -> str:
        """Return a hash of all tokens in their order."""
        return hashlib.sha256("\0".join(self.header.tokens()).encode()).hexdigest()


@dataclass(frozen=True)
class EvaluatedText:
    """The text to evaluate.

    Attributes:
        files: Files that are evaluated as plain text; empty for the conversations that ship.
        n_ctx: The tokens of a chunk; None for 512, or as many positions as the model has.
        max_tokens: Tokens to evaluate, rounded up to whole chunks; None for all.
        max_chunks: Chunks to evaluate; None for all.
    """

    files: tuple[Path, ...] = ()
    n_ctx: int | None = None
    max_tokens: int | None = None
    max_chunks: int | None = None

    @property
    def names(self) -> list[str]:
        """Return the names of the files, or that of the text that ships."""
        from dslocal.evaluation.calibration import HELD_OUT

        return [str(file) for file in self.files] or [HELD_OUT.title]

    def tokens_for(self, model: ComparedModel, vocabulary: LlamaModel) -> NDArray[np.int32]:
        """Return the token ids, ``[chunks, n_ctx]``, with no BOS at the start of the chunks.

        Args:
            model: The reference.
            vocabulary: The same model; only its vocabulary has to be loaded.

        Raises:
            UsageError: The text is too short, or the model has fewer positions than a chunk.
        """
        from dslocal.engine.activations.chunks import bos_token, cut_into_chunks
        from dslocal.evaluation.calibration import HELD_OUT, calibration_ids, text_ids

        n_ctx = self._chunk_size(model)
        if self.files:
            ids = text_ids(self.files, vocabulary.encode_as_llama_cpp, bos_token(vocabulary))
        else:
            if model.family is None:
                raise UsageError(
                    f"{model.name}: no --text is given, and the model has no family for dslocal's "
                    "own text",
                    hint="--text",
                )
            ids = calibration_ids(model.family, vocabulary, model.header.eos_token, HELD_OUT)
        limit = self.max_tokens if self.max_chunks is None else self.max_chunks * n_ctx
        return np.array(cut_into_chunks(ids, n_ctx, bos=None, max_tokens=limit), np.int32)

    def _chunk_size(self, model: ComparedModel) -> int:
        positions = model.header.of_arch("context_length", N_CTX)
        if self.n_ctx is None:
            return min(N_CTX, positions)
        if not MIN_CTX <= self.n_ctx <= positions:
            raise UsageError(
                f"--ctx: {self.n_ctx:,} is out of range",
                hint=f"{MIN_CTX} to {positions:,}, the positions of {model.name}",
            )
        return self.n_ctx


def require_same_vocabulary(
    model: ComparedModel, reference: str, n_vocab: int, vocabulary_hash: str | None
) -> None:
    """Check that two models have the same vocabulary.

    Args:
        model: The model.
        reference: The name of the reference.
        n_vocab: How many tokens the reference has.
        vocabulary_hash: The hash of these; None if only their number is known.

    Raises:
        UsageError: They do not.
    """
    found = len(model.header.tokens())
    if found != n_vocab:
        reason = f"its vocabulary has {found:,} tokens, that of {reference} {n_vocab:,}"
    elif vocabulary_hash not in (None, model.vocabulary_hash()):
        reason = f"its vocabulary differs from that of {reference}"
    else:
        return
    raise UsageError(
        f"{model.path.name}: {reason}, so their probabilities cannot be compared",
        hint="the reference must be the same model in more bits",
    )
