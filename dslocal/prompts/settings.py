"""Sampling settings: each with its value, where it comes from, and the values it may have."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from dslocal.errors import UsageError

T = TypeVar("T")
OFF = "off"  # the source of a setting that nobody has set and that changes nothing
MAX_STOPS = 64
MAX_STOP_LENGTH = 1000  # characters
MAX_BIASES = 1024
BIAS_HINT = (
    "</think>=5, 4042=-100 or '\"4042\"=-100': a token's id or its text, and a number, -100 to 100"
)


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A value and where it comes from."""

    value: T
    source: str


def format_value(value: object) -> str:
    """Return a setting's value for people, on one line."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Settings:
    """How an answer is sampled.

    What the sampler's settings do is in :mod:`dslocal.engine.sampling`.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: The share of probability that tokens are taken from.
        max_tokens: Tokens of reasoning and text at most.
        top_k: How many likeliest tokens are taken from; 0 for all.
        min_p: The least probability, as a share of the likeliest token's.
        presence_penalty: Subtracted from the logits of tokens that have come.
        frequency_penalty: Subtracted once for every time that a token has come.
        repeat_penalty: Divides the logits of tokens that have come.
        logit_bias: Entries ``TOKEN=VALUE``, added to logits; see
            :func:`dslocal.output.sampler_settings.resolve_logit_bias`.
        stop: Texts that end the answer.
        think_budget: Tokens of reasoning at most; None for no limit.
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
        """Return a copy with one value replaced.

        Args:
            name: The setting's name.
            value: Its value, or text that spells it. A list may be a list, a JSON list, or the only
                entry of one.
            source: Where the value comes from, for people.

        Raises:
            UsageError: If the setting does not exist, or the value is not allowed.
        """
        if name not in SETTINGS:
            raise UsageError(
                f"{source}: unknown setting {name!r}", hint=f"known: {', '.join(sorted(SETTINGS))}"
            )
        checked = _list(name, value, source) if name in _LISTS else _number(name, value, source)
        changed: dict[str, Any] = {name: Setting(checked, source)}
        return replace(self, **changed)

    def shown(self) -> dict[str, Setting[Any]]:
        """Return all settings by name, except those that nobody has set."""
        every = {name: getattr(self, name) for name in SETTINGS}
        return {name: setting for name, setting in every.items() if setting.source != OFF}

    def extras(self) -> dict[str, Any]:
        """Return the values by name of settings that are usually off and are on."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name).value
            if isinstance(field.default, Setting) and value != field.default.value:
                found[field.name] = value
        return found


SETTINGS = tuple(field.name for field in fields(Settings))


def parse_bias(text: str) -> tuple[str, float]:
    """Return token and value of ``TOKEN=VALUE``.

    Raises:
        ValueError: If it is not like that.
    """
    if "=" not in text[1:]:
        raise ValueError(text)
    token, number = text.rsplit("=", 1)
    return token, float(number)


def _is_bias(text: str) -> bool:
    try:
        return -100 <= parse_bias(text)[1] <= 100
    except ValueError:
        return False


@dataclass(frozen=True)
class _NumberRule:
    """The numbers that a setting may be: ``kind``, a range, and the range in words."""

    kind: type[int] | type[float]
    is_allowed: Callable[[Any], bool]
    allowed: str


@dataclass(frozen=True)
class _ListRule:
    """The lists that a setting may be: how long, of what entries, and these in words."""

    max_entries: int
    is_allowed: Callable[[str], bool]
    allowed: str


_NUMBERS = {
    "temperature": _NumberRule(float, lambda t: 0 <= t <= 5, "temperature is 0 to 5"),
    "top_p": _NumberRule(float, lambda p: 0 < p <= 1, "top_p is above 0, at most 1"),
    "max_tokens": _NumberRule(int, lambda n: 1 <= n <= 1 << 20, "max_tokens is 1 to 1048576"),
    "top_k": _NumberRule(int, lambda k: 0 <= k <= 1 << 20, "top_k is 0 (off) to 1048576"),
    "min_p": _NumberRule(float, lambda p: 0 <= p <= 1, "min_p is 0 (off) to 1"),
    "presence_penalty": _NumberRule(
        float, lambda p: -2 <= p <= 2, "presence_penalty is -2 to 2, 0 is off"
    ),
    "frequency_penalty": _NumberRule(
        float, lambda p: -2 <= p <= 2, "frequency_penalty is -2 to 2, 0 is off"
    ),
    "think_budget": _NumberRule(int, lambda n: 0 <= n <= 1 << 20, "think_budget is 0 to 1048576"),
    "repeat_penalty": _NumberRule(
        float, lambda p: 0.1 <= p <= 10, "repeat_penalty is 0.1 to 10, 1 is off"
    ),
}
_LISTS = {
    "logit_bias": _ListRule(MAX_BIASES, _is_bias, BIAS_HINT),
    "stop": _ListRule(
        MAX_STOPS,
        lambda text: 0 < len(text) <= MAX_STOP_LENGTH,
        f"stop is a text of 1 to {MAX_STOP_LENGTH} characters",
    ),
}


def _number(name: str, value: Any, source: str) -> int | float:
    rule = _NUMBERS[name]
    try:
        number = rule.kind(str(value))  # as if typed: True is not 1, and 1.5 is not an integer
    except ValueError:
        kind = "whole number" if rule.kind is int else "number"
        raise UsageError(f"{source}: {value!r:.40} is not a {kind}", hint=rule.allowed) from None
    if not rule.is_allowed(number):
        raise UsageError(f"{source}: {value!s:.40} is out of range", hint=rule.allowed)
    return number


def _list(name: str, value: Any, source: str) -> tuple[str, ...]:
    rule = _LISTS[name]
    entries = _entries(value)
    if len(entries) > rule.max_entries:
        raise UsageError(
            f"{source}: {len(entries):,} entries are too many",
            hint=f"{name} takes {rule.max_entries:,}",
        )
    for entry in entries:
        if not isinstance(entry, str) or not rule.is_allowed(entry):
            raise UsageError(f"{source}: {entry!r:.40} is not allowed", hint=rule.allowed)
    return tuple(entry.encode("utf-8", "replace").decode("utf-8") for entry in entries)


def _entries(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and value.startswith("["):
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return [value]  # a stop text may begin like a list, such as [DONE]
        if isinstance(read, list):
            return read
    return [value]
