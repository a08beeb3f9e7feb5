"""Sampling settings: each with its value, the reason for it, and what values it may have."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from dslocal.errors import UsageError

T = TypeVar("T")
OFF = "off"  # the source of a setting that nobody has set and that changes nothing
MAX_STOPS, MAX_STOP_LENGTH, MAX_BIASES = 16, 1000, 1024
BIAS_HINT = "as </think>=5, 4042=-100 or '\"4042\"=-100': a token's id or its text, and -100 to 100"


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A value and where it comes from."""

    value: T
    source: str


def format_value(value: object) -> str:
    """A setting's value for people, on one line."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Settings:
    """How an answer is sampled. ``temperature`` 0 means the likeliest token, ``max_tokens`` counts
    reasoning and answer.

    ``think_budget`` is tokens of reasoning at most, ``stop`` are texts that end the answer,
    ``logit_bias`` entries as ``TOKEN=VALUE`` (:mod:`.biases`). What the others do:
    :class:`dslocal.engine.sampling.nucleus.Nucleus` and :class:`dslocal.engine.sampling.penalties.Penalties`.
    """

    temperature: Setting[float]
    top_p: Setting[float]
    max_tokens: Setting[int]
    top_k: Setting[int] = Setting(0, OFF)
    min_p: Setting[float] = Setting(0.0, OFF)
    presence_penalty: Setting[float] = Setting(0.0, OFF)
    frequency_penalty: Setting[float] = Setting(0.0, OFF)
    repeat_penalty: Setting[float] = Setting(1.0, OFF)
    logit_bias: Setting[tuple[str, ...]] = Setting((), OFF)
    stop: Setting[tuple[str, ...]] = Setting((), OFF)
    think_budget: Setting[int | None] = Setting(None, OFF)

    def with_value(self, name: str, value: Any, source: str) -> Settings:
        """A copy with one value replaced. Raises UsageError when the value is not allowed, naming
        ``source``.

        A list may be given as one, as a JSON list, or as its only entry.
        """
        if name not in SETTINGS:
            raise UsageError(
                f"{source}: unknown setting {name!r}", hint=f"known: {', '.join(sorted(SETTINGS))}"
            )
        checked = _list(name, value, source) if name in _LISTS else _number(name, value, source)
        changed: dict[str, Any] = {name: Setting(checked, source)}
        return replace(self, **changed)

    def shown(self) -> dict[str, Setting[Any]]:
        """By name, all but those that nobody has set."""
        every = {name: getattr(self, name) for name in SETTINGS}
        return {name: setting for name, setting in every.items() if setting.source != OFF}

    def extras(self) -> dict[str, Any]:
        """Values by name of what is off unless somebody sets it, where it is on."""
        usual = {
            field.name: field.default.value
            for field in fields(self)
            if isinstance(field.default, Setting)
        }
        return {
            name: getattr(self, name).value
            for name, off in usual.items()
            if getattr(self, name).value != off
        }


SETTINGS = tuple(field.name for field in fields(Settings))


def parse_bias(text: str) -> tuple[str, float]:
    """Token and value of ``TOKEN=VALUE``. Raises ValueError."""
    token, separator, number = text.rpartition("=")
    if not separator or not token:
        raise ValueError(text)
    return token, float(number)


def _is_bias(text: str) -> bool:
    try:
        return -100 <= parse_bias(text)[1] <= 100
    except ValueError:
        return False


_RULES: dict[str, tuple[type[int] | type[float], Callable[[Any], bool], str]] = {
    "temperature": (float, lambda t: 0 <= t <= 5, "temperature is 0 to 5"),
    "top_p": (float, lambda p: 0 < p <= 1, "top_p is above 0, at most 1"),
    "max_tokens": (int, lambda n: 1 <= n <= 1 << 20, "max_tokens is 1 to 1048576"),
    "top_k": (int, lambda k: 0 <= k <= 1 << 20, "top_k is 0 (off) to 1048576"),
    "min_p": (float, lambda p: 0 <= p <= 1, "min_p is 0 (off) to 1"),
    "presence_penalty": (float, lambda p: -2 <= p <= 2, "presence_penalty is -2 to 2, 0 is off"),
    "frequency_penalty": (float, lambda p: -2 <= p <= 2, "frequency_penalty is -2 to 2, 0 is off"),
    "think_budget": (int, lambda n: 0 <= n <= 1 << 20, "think_budget is 0 to 1048576"),
    "repeat_penalty": (float, lambda p: 0.1 <= p <= 10, "repeat_penalty is 0.1 to 10, 1 is off"),
}
_LISTS: dict[str, tuple[int, Callable[[str], bool], str]] = {
    "logit_bias": (MAX_BIASES, _is_bias, BIAS_HINT),
    "stop": (
        MAX_STOPS,
        lambda text: 0 < len(text) <= MAX_STOP_LENGTH,
        f"stop is a text of 1 to {MAX_STOP_LENGTH} characters",
    ),
}


def _number(name: str, value: Any, source: str) -> int | float:
    kind, allowed, needed = _RULES[name]
    try:
        number = kind(str(value))  # as if typed: no True that is 1, no 1.5 that is 1
    except ValueError:
        raise UsageError(
            f"{source}: {value!r:.40} is no {'whole ' if kind is int else ''}number", hint=needed
        ) from None
    if not allowed(number):
        raise UsageError(f"{source}: {value!s:.40} is out of range", hint=needed)
    return number


def _list(name: str, value: Any, source: str) -> tuple[str, ...]:
    most, allowed, needed = _LISTS[name]
    entries = _entries(value)
    if len(entries) > most:
        raise UsageError(
            f"{source}: {len(entries):,} entries are too many", hint=f"{name} takes {most:,}"
        )
    for entry in entries:
        if not isinstance(entry, str) or not allowed(entry):
            raise UsageError(f"{source}: {entry!r:.40} is not allowed", hint=needed)
    return tuple(entry.encode("utf-8", "replace").decode("utf-8") for entry in entries)


def _entries(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and value.startswith("["):
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return [value]  # a stop text may begin like a list, as [DONE]
        if isinstance(read, list):
            return read
    return [value]
