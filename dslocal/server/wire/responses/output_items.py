"""The items of an answer: reasoning, a message, calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dslocal import output
from dslocal.server.exchange.events import call_key
from dslocal.server.wire.encoding import partial_object

from .items import CUSTOM_INPUT, ToolName, sealed

Json = dict[str, Any]


class ItemWriter:
    """Makes items of the parts of one answer, with ids made of the request's key."""

    def __init__(self, key: str, names: Mapping[str, ToolName], *, is_sealed: bool) -> None:
        """Make items for the request ``key``.

        Args:
            key: The request's key.
            names: How the client names the tools.
            is_sealed: Whether reasoning comes in a form that the client only sends back, too.
        """
        self._key = key
        self._names = names
        self._is_sealed = is_sealed

    def reasoning(self, index: int, text: str | None) -> Json:
        """Return a reasoning item; without its text while that is still coming."""
        item: Json = {"id": f"rs_{self._key}{index:02x}", "type": "reasoning", "summary": []}
        item["content"] = [] if text is None else [reasoning_part(text)]
        if self._is_sealed:
            item["encrypted_content"] = sealed(text or "")
        return {**item, "status": _status(text)}

    def message(self, index: int, text: str | None, logprobs: list[Json]) -> Json:
        """Return a message; without its text while that is still coming."""
        return {
            "id": f"msg_{self._key}{index:02x}",
            "type": "message",
            "status": _status(text),
            "role": "assistant",
            "content": [] if text is None else [text_part(text, logprobs)],
        }

    def call(self, index: int, number: int, name: str, arguments: str | None) -> Json:
        """Return the ``number``-th call; without its arguments while they are still coming."""
        call_id = f"call_{call_key(self._key, 0, number)}"
        tool = self._names.get(name, ToolName(name))
        item = {"status": _status(arguments), "call_id": call_id, "name": tool.name}
        if tool.namespace:
            item["namespace"] = tool.namespace
        if tool.is_custom:
            head = {"id": f"ctc_{self._key}{index:02x}", "type": "custom_tool_call"}
            return {**head, **item, "input": custom_input(arguments or "")}
        head = {"id": f"fc_{self._key}{index:02x}", "type": "function_call"}
        return {**head, **item, "arguments": arguments or ""}

    def is_custom(self, name: str) -> bool:
        """Return whether the tool called ``name`` in the prompt takes any text."""
        return name in self._names and self._names[name].is_custom

    def items(self, turn: output.Turn, logprobs: list[Json]) -> list[Json]:
        """Return the items of a whole answer."""
        items: list[Json] = []
        if turn.reasoning:
            items.append(self.reasoning(0, turn.reasoning))
        if turn.text:
            items.append(self.message(len(items), turn.text, logprobs))
        for number, call in enumerate(turn.calls):
            items.append(self.call(len(items), number, call.name, call.arguments))
        return items


def text_part(text: str, logprobs: list[Json]) -> Json:
    """Return a part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def reasoning_part(text: str) -> Json:
    """Return a part of a reasoning item."""
    return {"type": "reasoning_text", "text": text}


def custom_input(arguments: str) -> str:
    """Return the text that a custom tool is called with."""
    found = partial_object(arguments).get(CUSTOM_INPUT, "")
    return found if isinstance(found, str) else ""


def _status(content: str | None) -> str:
    return "in_progress" if content is None else "completed"
