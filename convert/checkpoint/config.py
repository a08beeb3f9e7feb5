"""config.json with every value checked when it is read: type, range, and a message with the key.

Does not know which keys an architecture needs.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from dslocal.errors import CheckpointError

MAX_INTEGER = 1 << 24  # no dimension of any real model comes near it
MAX_FLOAT32 = 3.4e38  # a GGUF's numbers are float32
MAX_FP8_BLOCK = 1 << 16
_T = TypeVar("_T")
_REPR = reprlib.Repr()
_REPR.maxstring = 120


def short_repr(value: object, max_characters: int = 60) -> str:
    """Return a value in a few characters, however long or deep it is."""
    return _REPR.repr(value)[:max_characters]


class Config:
    """A view on one JSON object whose getters check what they return.

    Every getter raises CheckpointError for a value that is missing without a default, of another
    type, or out of range.
    """

    def __init__(self, values: dict[str, Any], file: str) -> None:
        """Wrap an object that was read.

        Args:
            values: The JSON object.
            file: The file's name, for messages.
        """
        self._values = values
        self.file = file

    @property
    def values(self) -> Mapping[str, Any]:
        """Return the object as it was read."""
        return self._values

    def error(self, key: str, why: str) -> CheckpointError:
        """Return an error that says what is wrong with a key; the caller raises it."""
        return CheckpointError(f"{key} {why}", file=self.file)

    def has(self, key: str) -> bool:
        """Return whether a key is there and not null."""
        return self._values.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, minimum: int = 1) -> int:
        """Return an integer of at least ``minimum``."""
        value = self._value(key, default)
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not is_integer or not minimum <= value <= MAX_INTEGER:
            raise self.error(
                key, f"is {short_repr(value)}; an integer of {minimum} or more is needed"
            )
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number that float32 can hold."""
        value = self._value(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= MAX_FLOAT32:  # false for NaN, too
            raise self.error(key, f"is {short_repr(value)}; a number is needed")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"is {short_repr(value)}; true or false is needed")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"is {short_repr(value)}; a string is needed")
        return value

    def section(self, key: str) -> Config:
        """Return a nested object; an empty one where it is absent or null."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.error(key, f"is {short_repr(value)}; an object is needed")
        return Config(value or {}, f"{self.file}: {key}")

    @property
    def architecture(self) -> str:
        """Return the class that the checkpoint was saved from, such as DeepseekV3ForCausalLM."""
        value = self._values.get("architectures")
        message = self._values.get("error")
        if value is None and isinstance(message, str):
            raise self.error("error", f"is {short_repr(message)}: a server's message")
        if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], str):
            found = "is missing" if value is None else f"is {short_repr(value)}"
            raise self.error("architectures", f"{found}; one name is needed")
        return value[0]

    @property
    def rope(self) -> Config:
        """Return the rope settings.

        Published configs call them rope_scaling, newer transformers rope_parameters.
        """
        return self.section("rope_parameters" if self.has("rope_parameters") else "rope_scaling")

    @property
    def rope_theta(self) -> float:
        """Return the base of rope's frequencies."""
        theta = self.number("rope_theta", self.rope.number("rope_theta", 10000.0))
        if theta <= 0:
            raise self.error("rope_theta", f"is {theta:g}; more than 0 is needed")
        return theta

    @property
    def fp8_block(self) -> tuple[int, int]:
        """Return how many rows and columns share one FP8 scale."""
        value = self.section("quantization_config")._values.get("weight_block_size", [128, 128])
        if isinstance(value, list) and len(value) == 2 and all(map(_is_block_size, value)):
            return value[0], value[1]
        raise self.error(
            "quantization_config",
            f"weight_block_size is {short_repr(value)}; two sizes are needed",
        )

    def _value(self, key: str, default: _T | None) -> Any:
        value = self._values.get(key)
        if value is None:
            if default is None:
                raise self.error(key, "is missing")
            return default
        return value


def _is_block_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_FP8_BLOCK
