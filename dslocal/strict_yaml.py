"""A strict subset of YAML for files that people edit: every value knows its line.

Mappings, lists, text, numbers, true, false and null. It has no tags, anchors, aliases, second
documents or keys that occur twice, because these can hide a typing error. PyYAML parses the file.
Its composer and constructor are replaced by this module, which handles each event and limits the
depth. They crash the process on a few thousand open brackets, and lose the numbers of lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dslocal.errors import DslocalError
from dslocal.files import read_limited, utf8_text

MAX_FILE = 1 << 20  # bytes
MAX_DEPTH = 8
MAX_TEXT = 200  # characters
MAX_NUMBER = 1 << 53

Data: TypeAlias = "bool | int | float | str | list[YamlValue] | dict[str, YamlValue] | None"
Rule: TypeAlias = Callable[["Section", str], Any]

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class YamlValue:
    """A value of the file and its line; in a mapping the line of its key."""

    line: int
    data: Data


class Section:
    """A mapping of the file, whose values are read key by key, each by its rule.

    Attributes:
        file: The file, for messages.
        where: The keys that lead here, for messages: ``r1: config``.
        line: The line of the key that holds it.
        values: What it holds.
    """

    def __init__(self, file: Path, where: str, line: int, values: Mapping[str, YamlValue]) -> None:
        self.file = file
        self.where = where
        self.line = line
        self.values = values

    def fail(self, key: str, why: str, *, line: int | None = None, hint: str = "") -> DslocalError:
        """Return an error that names file, line, section and key.

        Args:
            key: The key at fault, which need not be there.
            why: What is wrong with it.
            line: The line at fault; that of the key, or else of the section, unless given.
            hint: What would help.
        """
        if line is None:
            line = self.values[key].line if key in self.values else self.line
        return DslocalError(f"{self.file}:{line}: {self._where(key)}: {why}", hint=hint)

    def read(self, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """Return the values that are there, in the file's order, each as its rule returns it.

        Raises:
            DslocalError: A key has no rule, or a value breaks its rule.
        """
        for key in self.values:
            if key not in rules:
                known = ", ".join(sorted(rules))
                raise self.fail(key[:80], f"unknown key {key!r:.80}", hint=f"known: {known}")
        return {key: rules[key](self, key) for key in self.values}

    def require(self, keys: Iterable[str], found: Mapping[str, Any]) -> None:
        """Raise DslocalError for the first of ``keys`` that is not ``found``."""
        for key in keys:
            if key not in found:
                raise self.fail(key, "is missing")

    def section(self, key: str) -> Section:
        """Return the mapping under ``key``; an empty one when the key is not there."""
        found = self.values.get(key, YamlValue(self.line, {}))
        if not isinstance(found.data, dict):
            raise self.fail(key, "is not a mapping")
        return Section(self.file, self._where(key), found.line, found.data)

    def text(self, key: str) -> str:
        """Return one line of printable text."""
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise self.fail(key, "is not one line of text")
        if not value.isprintable() or len(value) > MAX_TEXT:
            raise self.fail(key, "is not one line of text")
        return value

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self._value(key)
        if not isinstance(value, bool):
            raise self.fail(key, "is not true or false")
        return value

    def integer(self, key: str) -> int:
        """Return an integer of 1 or more."""
        return self._integer(key, least=1)

    def integer_or_zero(self, key: str) -> int:
        """Return an integer of 0 or more."""
        return self._integer(key, least=0)

    def number(self, key: str) -> int | float:
        """Return a number above 0."""
        value = self._value(key)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 < value <= MAX_NUMBER
        ):
            return value
        raise self.fail(key, "is not a number above 0")

    def texts(self, key: str, check: Callable[[str], str | None]) -> tuple[str, ...]:
        """Return a list of texts, one or more and none of them twice.

        Args:
            key: The key of the list.
            check: Returns what is wrong with a text, or None.
        """
        found: list[str] = []
        for item in self._items(key):
            if not isinstance(item.data, str):
                raise self.fail(key, "is not a list of texts", line=item.line)
            why = check(item.data)
            if why is None and item.data in found:
                why = f"{item.data!r:.80} occurs twice"
            if why is not None:
                raise self.fail(key, why, line=item.line)
            found.append(item.data)
        return tuple(found)

    def integers(self, key: str) -> list[int]:
        """Return a list of integers of 1 or more, one or more and each larger than the last."""
        found: list[int] = []
        for item in self._items(key):
            data = item.data
            least = found[-1] + 1 if found else 1
            if not isinstance(data, int) or isinstance(data, bool) or data < least:
                raise self.fail(key, "is not a list of growing integers", line=item.line)
            found.append(data)
        return found

    def sections(self, key: str) -> list[Section]:
        """Return a list of mappings, one or more."""
        found = []
        for item in self._items(key):
            if not isinstance(item.data, dict):
                raise self.fail(key, "is not a list of mappings", line=item.line)
            found.append(Section(self.file, self._where(key), item.line, item.data))
        return found

    def _where(self, key: str) -> str:
        """Return the keys that lead to ``key``, for messages."""
        return ": ".join(part for part in (self.where, key) if part)

    def _items(self, key: str) -> list[YamlValue]:
        data = self._value(key)
        if not isinstance(data, list) or not data:
            raise self.fail(key, "is not a list of one or more")
        return data

    def _integer(self, key: str, least: int) -> int:
        value = self._value(key)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_NUMBER:
            return value
        raise self.fail(key, f"is not an integer of {least} or more")

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise self.fail(key, "is missing")
        return self.values[key].data


def read_yaml(file: Path) -> Section:
    """Read a file as one mapping.

    Raises:
        DslocalError: It cannot be read, or is not in this subset; the message names file and line.
    """
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        text = _read_text(file)
        value = _Composer(file, yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise DslocalError(f"{file}:{line}: cannot be read: {e.problem or 'not YAML'}") from None
    except yaml.YAMLError as e:
        raise DslocalError(f"{file}: cannot be read: {' '.join(str(e).split())[:200]}") from None
    if not isinstance(value.data, dict):
        raise DslocalError(f"{file}:{value.line}: is not a mapping")
    return Section(file, "", value.line, value.data)


def _read_text(file: Path) -> str:
    try:
        content = read_limited(file, max_bytes=MAX_FILE)
        if len(content) > MAX_FILE:
            raise DslocalError(f"{file}: is over {MAX_FILE:,} bytes long")
        return utf8_text(content)
    except OSError as e:
        raise DslocalError(f"{file}: cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise DslocalError(f"{file}: cannot be read: {e}") from None


class _Composer:
    """Makes values of the events of PyYAML's parser.

    PyYAML's own composer recurses in C without a limit, and drops the lines of keys.
    """

    def __init__(self, file: Path, events: Iterator[Any]) -> None:
        self._file = file
        self._events = events

    def document(self) -> YamlValue:
        """Return the only document; null where the file has none."""
        value: YamlValue | None = None
        for event in self._events:
            if type(event).__name__ == "DocumentStartEvent":
                if value is not None:
                    raise self._fail(event, "a second document")
                value = self._node(next(self._events), MAX_DEPTH)
        return value or YamlValue(1, None)

    def _node(self, event: Any, depth: int) -> YamlValue:
        """Return the value that ``event`` begins; ``depth`` more levels may lie in it."""
        name = type(event).__name__
        if event.anchor is not None:  # an alias has one too
            raise self._fail(event, "anchors and aliases are not supported")
        if event.tag is not None:
            raise self._fail(event, "tags are not supported")
        line = event.start_mark.line + 1
        if name == "ScalarEvent":
            is_plain = event.implicit[0]  # neither quoted nor a block
            return YamlValue(line, _plain_scalar(event.value) if is_plain else event.value)
        if not depth:
            raise self._fail(event, "nested too deep")
        if name == "SequenceStartEvent":
            return YamlValue(line, self._sequence(depth - 1))
        return YamlValue(line, self._mapping(depth - 1))

    def _sequence(self, depth: int) -> list[YamlValue]:
        found = []
        for event in self._until("SequenceEndEvent"):
            found.append(self._node(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, YamlValue]:
        found: dict[str, YamlValue] = {}
        for event in self._until("MappingEndEvent"):
            key = self._key(event)
            if key in found:
                why = f"{key!r:.80} occurs twice, first in line {found[key].line}"
                raise self._fail(event, why)
            value = self._node(next(self._events), depth)
            found[key] = YamlValue(event.start_mark.line + 1, value.data)
        return found

    def _key(self, event: Any) -> str:
        if type(event).__name__ in ("SequenceStartEvent", "MappingStartEvent"):
            raise self._fail(event, "a key must be text")
        if self._node(event, 0).data is None or not event.value.isprintable():
            raise self._fail(event, "a key must be text")
        key: str = event.value
        return key

    def _until(self, end: str) -> Iterator[Any]:
        for event in self._events:
            if type(event).__name__ == end:
                return
            yield event

    def _fail(self, event: Any, why: str) -> DslocalError:
        return DslocalError(f"{self._file}:{event.start_mark.line + 1}: {why}")


def _plain_scalar(text: str) -> bool | int | float | str | None:
    """Return what a word without quotes stands for.

    Narrower than in YAML 1.1: ``yes``, ``1_000``, ``0x10`` and ``12:30`` are text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
