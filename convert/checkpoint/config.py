"""config.json with every value checked when it is asked for: type, range, and a message that names
the key.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from dslocal.errors import CheckpointError

MAX_INTEGER = 1 << 24  # no dimension of any real model comes near it
FLOAT32_MAX = 3.4e38  # GGUF's numbers
_T = TypeVar("_T")
_REPR = reprlib.Repr()
_REPR.maxstring = 120


def short_repr(value: object, most: int = 60) -> str:
    """``value`` in a few characters, however long or deep it is."""
    return _REPR.repr(value)[:most]


class Config:
    """A view on one JSON object. ``file`` is its name, for messages."""

    def __init__(self, values: dict[str, Any], file: str) -> None:
        self._values = values
        self.file = file

    @property
    def values(self) -> Mapping[str, Any]:
        """The object as it was read."""
        return self._values

    def fail(self, key: str, why: str) -> CheckpointError:
        return CheckpointError(f"{key} {why}", file=self.file)

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not null."""
        return self._values.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        value = self._value(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not least <= value <= MAX_INTEGER
        ):
            raise self.fail(key, f"is {short_repr(value)}; an integer of {least} or more is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not abs(value) <= FLOAT32_MAX
        ):
            raise self.fail(key, f"is {short_repr(value)}; a number is needed")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, f"is {short_repr(value)}; true or false is needed")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.fail(key, f"is {short_repr(value)}; a string is needed")
        return value

    def section(self, key: str) -> Config:
        """A nested object; an empty one when it is absent or null."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.fail(key, f"is {short_repr(value)}; an object is needed")
        return Config(value or {}, f"{self.file}: {key}")

    @property
    def architecture(self) -> str:
        """The class that the checkpoint was saved from, as ``DeepseekV3ForCausalLM``."""
        value = self._values.get("architectures")
        if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], str):
            raise self.fail("architectures", f"is {short_repr(value)}; one name is needed")
        return value[0]

    @property
    def rope(self) -> Config:
        """Rope settings under either of their names: published configs say rope_scaling, newer
        transformers rope_parameters.
        """
        return self.section("rope_parameters" if self.has("rope_parameters") else "rope_scaling")

    @property
    def rope_theta(self) -> float:
        theta = self.number("rope_theta", self.rope.number("rope_theta", 10000.0))
        if theta <= 0:
            raise self.fail("rope_theta", f"is {theta:g}; more than 0 is needed")
        return theta

    @property
    def fp8_block(self) -> tuple[int, int]:
        """Rows and columns that share one FP8 scale."""
        value = self.section("quantization_config")._values.get("weight_block_size", [128, 128])
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(type(n) is int and 1 <= n <= 1 << 16 for n in value)
        ):
            raise self.fail(
                "quantization_config",
                f"weight_block_size is {short_repr(value)}; two sizes are needed",
            )
        return value[0], value[1]

    def _value(self, key: str, default: _T | None) -> Any:
        value = self._values.get(key)
        if value is None:
            if default is None:
                raise self.fail(key, "is missing")
            return default
        return value
