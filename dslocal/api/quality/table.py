"""The result of comparing several models with one reference, for a table and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dslocal.evaluation.divergence.reference_file import ReferenceFile

from .measure import Quality


@dataclass(frozen=True)
class MeasuredModels:
    """The models that were compared, their reference and the text.

    Attributes:
        reference: The name of the reference.
        kept: The file of its log-probabilities.
        kept_bytes: The size of that file.
        reference_bytes: The size of the reference; 0 if it is not known.
        reference_bits: Its bits per weight; 0 if they are not known.
        text: The names of the texts that were evaluated; empty if they are not known.
        n_ctx: Tokens of a chunk.
        chunks: How many chunks were evaluated.
        models: The models, in the order in which they were named.
    """

    reference: str
    kept: str
    kept_bytes: int
    reference_bytes: int
    reference_bits: float
    text: Sequence[str]
    n_ctx: int
    chunks: int
    models: Sequence[Quality]

    @classmethod
    def of(cls, reference: ReferenceFile, models: Sequence[Quality]) -> MeasuredModels:
        """Return what was measured against a reference."""
        seal = reference.seal
        return cls(
            reference=seal.model if seal else reference.path.name,
            kept=str(reference.path),
            kept_bytes=reference.nbytes,
            reference_bytes=seal.model_bytes if seal else 0,
            reference_bits=seal.bits_per_weight if seal else 0.0,
            text=seal.text if seal else [],
            n_ctx=reference.shape.n_ctx,
            chunks=reference.shape.n_chunks,
            models=models,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return {
            "reference": {
                "name": self.reference,
                "bytes": self.reference_bytes or None,
                "bits_per_weight": self.reference_bits or None,
                "logits": self.kept,
                "logits_bytes": self.kept_bytes,
            },
            "text": list(self.text),
            "n_ctx": self.n_ctx,
            "chunks": self.chunks,
            "models": [model.as_json() for model in self.models],
        }
