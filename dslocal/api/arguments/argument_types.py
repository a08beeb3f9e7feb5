"""Check that arguments of the public API have the types that their annotations say.

Python checks no annotation: without this, a value of a wrong type would fail far from the call, or
do something else than it says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args, get_type_hints

from dslocal.errors import UsageError

TOOL_HINT = 'write it as dslocal.Tool("NAME", "DESCRIPTION", {"type": "object", …})'
MESSAGE_HINT = 'write it as dslocal.Message("user", "TEXT")'


@dataclass(frozen=True)
class ArgumentType:
    """A type of arguments: what it is called in messages, and whether a value has it."""

    name: str
    includes: Callable[[object], bool]

    @property
    def or_none(self) -> ArgumentType:
        """Return the type that also includes None, for an argument that may be left out."""
        return replace(self, includes=lambda value: value is None or self.includes(value))


def _is_path(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)
    )


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _are_texts(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(entry, str) for entry in value)


def _are_paths(value: object) -> bool:
    return isinstance(value, Sequence) and _is_list(value) and all(map(_is_path, value))


TEXT = ArgumentType("a text", lambda value: isinstance(value, str))
TEXTS = ArgumentType("a text or a list of texts", _are_texts)
PATH = ArgumentType("a path", _is_path)
PATHS = ArgumentType("a list of paths", _are_paths)
FLAG = ArgumentType("True or False", lambda value: isinstance(value, bool))
WHOLE_NUMBER = ArgumentType(
    "a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)
)
FUNCTION = ArgumentType("a function", callable)
SCHEMA = ArgumentType(
    "a JSON Schema or the path of one",
    lambda value: isinstance(value, Mapping) or _is_path(value),
)


def require(kind: ArgumentType, **arguments: object) -> None:
    """Raise UsageError where an argument is not of ``kind``. Their names are those of the API."""
    for name, value in arguments.items():
        if not kind.includes(value):
            raise _wrong_type(name, value, kind.name)


def require_types(types: Mapping[str, ArgumentType], arguments: Mapping[str, object]) -> None:
    """Raise UsageError where an argument is not of the type that ``types`` have for its name."""
    for name, kind in types.items():
        if name in arguments:
            require(kind, **{name: arguments[name]})


def require_tools(tools: object, name: str = "tools") -> None:
    """Raise UsageError where ``tools`` is not a list of tools with a JSON Schema each."""
    from dslocal.prompts.messages import Tool

    for place, tool in _entries(tools, name, "tools"):
        if not isinstance(tool, Tool):
            raise _wrong_type(place, tool, "a dslocal.Tool", TOOL_HINT)
        require(TEXT, **{f"{place}.name": tool.name, f"{place}.description": tool.description})
        parameters = tool.parameters
        try:
            is_json = isinstance(parameters, Mapping) and bool(json.dumps(dict(parameters)))
        except (TypeError, ValueError, RecursionError):
            is_json = False
        if not is_json:
            raise _wrong_type(f"{place}.parameters", parameters, "a JSON Schema", TOOL_HINT)


def require_messages(messages: object) -> None:
    """Raise UsageError where ``messages`` is not a list of messages."""
    from dslocal.prompts.messages import Message, ToolCall

    roles = get_args(get_type_hints(Message)["role"])
    for place, message in _entries(messages, "messages", "messages"):
        if not isinstance(message, Message):
            raise _wrong_type(place, message, "a dslocal.Message", MESSAGE_HINT)
        if message.role not in roles:
            raise _wrong_type(f"{place}.role", message.role, "a role", ", ".join(roles))
        texts = {"content": message.content, "reasoning": message.reasoning, "task": message.task}
        require(TEXT, **{f"{place}.{field}": text for field, text in texts.items()})
        require_tools(message.tools, f"{place}.tools")
        for number, call in _entries(message.calls, f"{place}.calls", "calls"):
            if not isinstance(call, ToolCall):
                raise _wrong_type(number, call, "a dslocal.ToolCall")
            require(TEXT, **{f"{number}.name": call.name, f"{number}.arguments": call.arguments})


def _entries(value: object, name: str, kind: str) -> list[tuple[str, object]]:
    """Return the entries of a list, each with its name."""
    if not isinstance(value, Sequence) or not _is_list(value):
        raise _wrong_type(name, value, f"a list of {kind}")
    return [(f"{name}[{index}]", entry) for index, entry in enumerate(value)]


def _wrong_type(name: str, value: object, expected: str, hint: str = "") -> UsageError:
    return UsageError(f"{name}: {value!r:.40} is not {expected}", hint=hint)
