"""The files of ``--imatrix auto`` beside an output: a model, its importance matrix, and a record.

The record says which source they belong to, and how far the work has come.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dslocal.errors import ConversionError
from dslocal.files import parse_json_object, write_atomic

if TYPE_CHECKING:
    from dslocal.api.loading import LoadModel

AUTO = "auto"  # in place of a file: the matrix is made first
PART = ".part"  # the end of the name of a matrix that is not finished


@dataclass(frozen=True)
class AutoImatrix:
    """The intermediate files beside an output.

    Attributes:
        target: The output, or the first of several.
        keep: Whether they stay when the outputs are finished.
        load: Loads a model by a load config.
    """

    target: Path
    keep: bool
    load: LoadModel

    @property
    def model(self) -> Path:
        """Return where the model that is measured is written."""
        return self._beside("auto-imatrix-model.gguf")

    @property
    def matrix(self) -> Path:
        """Return where the matrix is written."""
        return self._beside("auto-imatrix.gguf")

    @property
    def _record(self) -> Path:
        return _record_of(self.target)

    def begin(self, identity: str) -> None:
        """Keep what an earlier run with the same source left, and delete what another left.

        Args:
            identity: Changes when the source does.
        """
        if _read_record(self._record).get("identity") == identity:
            return
        self.remove()
        self._write(identity, writing=False)

    def begin_writing(self) -> None:
        """Note that the matrix is finished, and that outputs are written from now on."""
        self._write(str(_read_record(self._record).get("identity", "")), writing=True)

    def remove_model(self) -> None:
        """Delete the model that was measured, and what is left of its conversion."""
        for file in self.target.parent.iterdir():
            if file.name.startswith(self.model.name) and file.is_file():
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete all of the files."""
        self.remove_model()
        for file in (self.matrix, self.matrix.with_name(self.matrix.name + PART)):
            file.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def finish(self) -> None:
        """Delete the files once the outputs are written, unless they are kept."""
        if self.keep:
            self._record.unlink(missing_ok=True)
        else:
            self.remove()

    def _beside(self, what: str) -> Path:
        return self.target.with_name(f"{self.target.stem}.{what}")

    def _write(self, identity: str, *, writing: bool) -> None:
        try:
            write_atomic(self._record, json.dumps({"identity": identity, "writing": writing}))
        except OSError as e:
            raise ConversionError(f"{self._record}: cannot be written: {e.strerror}") from e


def was_writing(target: Path) -> bool:
    """Return whether an interrupted run had finished its matrix, and was writing its outputs.

    Args:
        target: The first output.
    """
    return bool(_read_record(_record_of(target)).get("writing"))


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.stem}.auto-imatrix.json")


def _read_record(record: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return parse_json_object(record.read_bytes())
    return {}
