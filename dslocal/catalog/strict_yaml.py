"""A small, strict YAML: files that people edit, every value with its line, and nothing that a
typing error could hide behind.

Mappings, lists, text, numbers, true, false and null; no tags, anchors, aliases, second documents or
keys that occur twice. The file is read event by event with a limit to its depth: PyYAML's composer
crashes the process on a few thousand open brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dslocal.errors import DslocalError

if TYPE_CHECKING:
    import yaml

MAX_FILE = 1 << 20  # bytes
MAX_DEPTH = 8
LARGEST = 1 << 53

Data: TypeAlias = "bool | int | float | str | list[YamlValue] | dict[str, YamlValue] | None"
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class YamlValue:
    """What stands in the file, and its line; in a mapping the line of its key."""

    line: int
    data: Data


class Section:
    """A mapping of the file, asked for its keys one by one. ``where`` is what it is called in
    messages, as ``r1: config``.
    """

    def __init__(self, file: Path, where: str, line: int, values: dict[str, YamlValue]) -> None:
        self.file, self.where, self.line, self.values = file, where, line, values

    def fail(self, key: str, why: str, hint: str = "") -> DslocalError:
        """An error that names file, line, section and key."""
        line = self.values[key].line if key in self.values else self.line
        return DslocalError(
            f"{self.file}:{line}: {': '.join(part for part in (self.where, key) if part)}: {why}",
            hint=hint,
        )

    def only(self, known: Iterable[str]) -> None:
        """Raises DslocalError for a key that is not ``known``."""
        known = frozenset(known)
        for key in self.values:
            if key not in known:
                raise self.fail(
                    key[:80], f"unknown key {key!r:.80}", hint=f"known: {', '.join(sorted(known))}"
                )

    def section(self, key: str) -> Section:
        """The mapping under ``key``; an empty one when the key is not there."""
        found = self.values.get(key, YamlValue(self.line, {}))
        if not isinstance(found.data, dict):
            raise self.fail(key, "is not a mapping")
        return Section(
            self.file, f"{self.where}: {key}" if self.where else key, found.line, found.data
        )

    def text(self, key: str) -> str:
        value = self._needed(key).data
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 200:
            raise self.fail(key, "is not one line of text")
        return value

    def flag(self, key: str) -> bool:
        value = self._needed(key).data
        if not isinstance(value, bool):
            raise self.fail(key, "is not true or false")
        return value

    def integer(self, key: str, least: int = 1) -> int:
        value = self._needed(key).data
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            raise self.fail(key, f"is not an integer of {least} or more")
        return value

    def number(self, key: str) -> int | float:
        """A number above 0."""
        value = self._needed(key).data
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value <= LARGEST
        ):
            raise self.fail(key, "is not a number above 0")
        return value

    def _needed(self, key: str) -> YamlValue:
        if key not in self.values:
            raise self.fail(key, "is missing")
        return self.values[key]


def read_yaml(file: Path) -> Section:
    """The file as one mapping. Raises DslocalError naming file and line."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise DslocalError(f"{file}: is over {MAX_FILE:,} bytes long")
        value = _Builder(file, yaml.parse(content.decode("utf-8"), Loader=loader)).document()
    except OSError as e:
        raise DslocalError(f"{file}: cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise DslocalError(f"{file}: cannot be read: byte {e.start} is not UTF-8") from None
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise DslocalError(f"{file}:{line}: cannot be read: {e.problem or 'not YAML'}") from None
    except yaml.YAMLError as e:
        raise DslocalError(f"{file}: cannot be read: {' '.join(str(e).split())[:200]}") from None
    if not isinstance(value.data, dict):
        raise DslocalError(f"{file}:{value.line}: is not a mapping")
    return Section(file, "", value.line, value.data)


class _Builder:
    """Makes values of a stream of PyYAML's events."""

    def __init__(self, file: Path, events: Iterator[yaml.Event]) -> None:
        self.file, self.events = file, events

    def document(self) -> YamlValue:
        """The only document; null where the file has none."""
        value: YamlValue | None = None
        for event in self.events:
            name = type(event).__name__
            if name == "DocumentStartEvent":
                if value is not None:
                    raise self._fail(event, "a second document")
                value = self._value(next(self.events), MAX_DEPTH)
        return value or YamlValue(1, None)

    def _value(self, event: Any, depth: int) -> YamlValue:
        name, line = type(event).__name__, event.start_mark.line + 1
        if name == "AliasEvent" or event.anchor is not None:
            raise self._fail(event, "anchors and aliases are not read here")
        if event.tag is not None:
            raise self._fail(event, "tags are not read here")
        if name == "ScalarEvent":
            return YamlValue(line, _scalar(event.value) if event.implicit[0] else event.value)
        if not depth:
            raise self._fail(event, "nested too deep")
        if name == "SequenceStartEvent":
            return YamlValue(
                line, [self._value(e, depth - 1) for e in self._until("SequenceEndEvent")]
            )
        return YamlValue(line, self._mapping(depth))

    def _mapping(self, depth: int) -> dict[str, YamlValue]:
        found: dict[str, YamlValue] = {}
        for event in self._until("MappingEndEvent"):
            key = (
                self._value(event, 0)
                if type(event).__name__ in ("ScalarEvent", "AliasEvent")
                else YamlValue(0, None)
            )
            if not isinstance(key.data, str | int | float) or not event.value.isprintable():
                raise self._fail(event, "a key must be text")
            if event.value in found:
                raise self._fail(
                    event,
                    f"{event.value!r:.80} occurs twice, first in line {found[event.value].line}",
                )
            found[event.value] = YamlValue(key.line, self._value(next(self.events), depth - 1).data)
        return found

    def _until(self, end: str) -> Iterator[Any]:
        for event in self.events:
            if type(event).__name__ == end:
                return
            yield event

    def _fail(self, event: Any, why: str) -> DslocalError:
        return DslocalError(f"{self.file}:{event.start_mark.line + 1}: {why}")


def _scalar(text: str) -> bool | int | float | str | None:
    """What a plain word stands for. Narrower than YAML 1.1: ``yes``, ``1_000``, ``0x10`` and
    ``12:30`` are text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
