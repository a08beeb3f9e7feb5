"""Grammars for tool calls whose arguments are JSON, between special tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dslocal.errors import UsageError

from .grammar import schema_to_grammar, validated

CallNumber = Literal["one", "several"]  # how many calls an answer may have


@dataclass(frozen=True)
class CallGrammar:
    """What one tool's call looks like.

    Attributes:
        name: The tool's name.
        between: What stands between name and arguments: a text, or one token by its id.
        schema: The JSON Schema of the arguments.
    """

    name: str
    between: str | int
    schema: dict[str, Any]


@dataclass(frozen=True)
class EnclosedCalls:
    """What stands around calls in an answer; tokens by their ids.

    Attributes:
        begin: The token before all calls.
        end: The token after them.
        call_begin: The token before one call.
        call_end: The token after it.
        kind: A text and a token before the tool's name; None if the name comes first.
        after: What stands between the arguments and the end of a call.
        separator: What stands between two calls.
    """

    begin: int
    end: int
    call_begin: int
    call_end: int
    kind: tuple[str, int] | None
    after: str
    separator: str


def calls_to_grammar(calls: Sequence[CallGrammar]) -> tuple[str, list[str]]:
    """Return a grammar for the name and the arguments of one of ``calls``, for :class:`.Grammar`.

    Returns:
        The grammar, and a line for each part of a schema that it does not enforce.

    Raises:
        UsageError: If a schema is wrong, or all together are too large.
    """
    arguments, unheld = _arguments(calls)
    return _grammar(f"start: {_heads(calls)}", arguments), unheld


def answer_to_grammar(
    calls: Sequence[CallGrammar], enclosed: EnclosedCalls, number: CallNumber
) -> tuple[str, list[str]]:
    """Return a grammar for text that ``calls`` may follow, for :class:`.Grammar`.

    Args:
        calls: The calls that are allowed.
        enclosed: What stands around them.
        number: How many calls an answer may have.

    Returns:
        The grammar, and a line for each part of a schema that it does not enforce.

    Raises:
        UsageError: If a schema is wrong, or all together are too large.
    """
    arguments, unheld = _arguments(calls)
    kind = f"{json.dumps(enclosed.kind[0])} <[{enclosed.kind[1]}]> " if enclosed.kind else ""
    after = f"{json.dumps(enclosed.after)} " if enclosed.after else ""
    separator = f"{json.dumps(enclosed.separator)} " if enclosed.separator else ""
    more = f" ({separator}call)*" if number == "several" else ""
    rules = (
        f"start: TEXT | TEXT? <[{enclosed.begin}]> call{more} <[{enclosed.end}]>\n"
        "TEXT: /(?s:.*)/\n"
        f"call: <[{enclosed.call_begin}]> {kind}named {after}<[{enclosed.call_end}]>\n"
        f"named: {_heads(calls)}\n"
    )
    return _grammar(rules, arguments), unheld


def _arguments(calls: Sequence[CallGrammar]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the grammars of the arguments, and what they do not enforce."""
    grammars = []
    unheld = []
    for number, call in enumerate(calls):
        try:
            text, lines = schema_to_grammar(call.schema)
        except UsageError as e:
            raise UsageError(f"the parameters of {call.name}: {e}", hint=e.hint) from None
        (arguments,) = json.loads(text)["grammars"]
        grammars.append({**arguments, "name": f"arguments{number}"})
        unheld += [f"{call.name}: {line}" for line in lines]
    return grammars, unheld


def _heads(calls: Sequence[CallGrammar]) -> str:
    """Return the alternatives of a tool's name with its arguments."""
    heads = []
    for number, call in enumerate(calls):
        between = f"<[{call.between}]>" if isinstance(call.between, int) else ""
        text = call.name if between else f"{call.name}{call.between}"
        heads.append(f"{json.dumps(text)} {between} @arguments{number}")
    return " | ".join(heads)


def _grammar(rules: str, arguments: Sequence[dict[str, Any]]) -> str:
    return validated(
        json.dumps({"grammars": [{"name": "calls", "lark_grammar": rules}, *arguments]})
    )
