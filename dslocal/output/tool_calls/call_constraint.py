"""Constrain an answer to tool calls: to one of them, or to calls after free text.

What a call looks like is the family's format. Its arguments are as the tool's JSON Schema says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from dslocal.errors import UsageError
from dslocal.output.constraint import ANY_OBJECT, OutputConstraint, check_schema, checked_schema
from dslocal.output.schema_keywords import unknown_keywords
from dslocal.prompts.families.dsml_tools import DSML, DsmlToolFormat
from dslocal.prompts.families.tools import (
    CALL_BEGIN,
    CALL_END,
    CALLS_BEGIN,
    CALLS_END,
    FENCE,
    FENCE_END,
    SEPARATOR,
    ToolFormat,
)
from dslocal.prompts.messages import Special, Tool, Vocabulary, encode

if TYPE_CHECKING:
    from dslocal.engine.grammar.calls import CallGrammar, CallNumber

SOURCE = "tools"


def constraint_of_forced_calls(
    tools: Sequence[Tool], form: DsmlToolFormat, vocabulary: Vocabulary, calls: CallNumber
) -> OutputConstraint:
    """Return the constraint of an answer in DSML that is calls of ``tools`` and nothing else.

    Args:
        tools: The tools of which one is called.
        form: How the family writes a call.
        vocabulary: Has ``｜DSML｜``, or spells it.
        calls: How many calls an answer may have.

    Raises:
        UsageError: If the parameters of a tool are not a schema, or beyond the limits.
    """
    return _dsml_constraint(tools, form, vocabulary, calls, is_forced=True)


def constraint_of_prefilled_call(
    tools: Sequence[Tool], form: ToolFormat, vocabulary: Vocabulary
) -> OutputConstraint:
    """Return the constraint of the name and the arguments of one tool's call.

    The prompt ends where the name is to be written.

    Args:
        tools: The tools of which one is called.
        form: How the family writes a call.
        vocabulary: Has the token that stands between name and arguments, where that is one.

    Raises:
        UsageError: If the parameters of a tool are not a schema, or beyond the limits.
        UnsupportedModelError: If the vocabulary lacks that token.
    """
    from dslocal.engine.grammar.calls import calls_to_grammar

    return _constraint(tools, *calls_to_grammar(_call_grammars(tools, form, vocabulary)))


def constraint_of_optional_calls(
    tools: Sequence[Tool],
    strict: Collection[str],
    form: DsmlToolFormat | ToolFormat,
    vocabulary: Vocabulary,
    calls: CallNumber,
) -> OutputConstraint:
    """Return the constraint of an answer that is text, which calls of ``tools`` may follow.

    Args:
        tools: The tools that may be called.
        strict: The names of the tools whose arguments must follow their schemas.
        form: How the family writes a call.
        vocabulary: Has the tokens of calls.
        calls: How many calls an answer may have.

    Raises:
        UsageError: If the parameters of a strict tool are not a schema, or beyond the limits.
        UnsupportedModelError: If the vocabulary lacks a token of calls.
    """
    from dslocal.engine.grammar.calls import EnclosedCalls, answer_to_grammar

    tools = [tool if tool.name in strict else Tool(tool.name, "", ANY_OBJECT) for tool in tools]
    if isinstance(form, DsmlToolFormat):
        return _dsml_constraint(tools, form, vocabulary, calls, is_forced=False)
    enclosed = EnclosedCalls(
        begin=_id(CALLS_BEGIN, vocabulary),
        end=_id(CALLS_END, vocabulary),
        call_begin=_id(CALL_BEGIN, vocabulary),
        call_end=_id(CALL_END, vocabulary),
        kind=("function", _id(SEPARATOR, vocabulary)) if form.typed else None,
        after=FENCE_END if form.typed else "",
        separator="\n" if form.typed else "",
    )
    grammars = _call_grammars(tools, form, vocabulary)
    return _constraint(tools, *answer_to_grammar(grammars, enclosed, calls))


def _dsml_constraint(
    tools: Sequence[Tool],
    form: DsmlToolFormat,
    vocabulary: Vocabulary,
    calls: CallNumber,
    *,
    is_forced: bool,
) -> OutputConstraint:
    from dslocal.engine.grammar.dsml import CallableTool, DsmlTags, dsml_calls_to_grammar

    mark = vocabulary.special_id(DSML.token)
    tags = DsmlTags(form.block, form.invoke, form.parameter, DSML.token if mark is None else mark)
    callable_tools = [
        CallableTool(tool.name, schema) for tool, schema in zip(tools, _schemas(tools), strict=True)
    ]
    try:
        found = dsml_calls_to_grammar(callable_tools, tags, is_forced=is_forced, calls=calls)
    except UsageError as e:
        raise UsageError(f"{SOURCE}: {e}", hint=e.hint) from None
    return _constraint(tools, *found)


def _call_grammars(
    tools: Sequence[Tool], form: ToolFormat, vocabulary: Vocabulary
) -> list[CallGrammar]:
    from dslocal.engine.grammar.calls import CallGrammar

    between: str | int = f"\n{FENCE}" if form.typed else _id(SEPARATOR, vocabulary)
    return [
        CallGrammar(tool.name, between, schema)
        for tool, schema in zip(tools, _schemas(tools), strict=True)
    ]


def _schemas(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return the schemas of the tools' arguments.

    Raises:
        UsageError: If one is not a schema, or beyond the limits, or all together are.
    """
    checked_schema({tool.name: dict(tool.parameters) for tool in tools}, SOURCE)
    found = []
    for tool in tools:
        source = f"the parameters of {tool.name}"
        schema = checked_schema(dict(tool.parameters) or ANY_OBJECT, source)
        try:
            check_schema(schema)
        except UsageError as e:
            raise UsageError(f"{SOURCE}: {source}: {e}", hint=e.hint) from None
        found.append(schema)
    return found


def _constraint(tools: Sequence[Tool], grammar: str, unheld: Sequence[str]) -> OutputConstraint:
    unknown = [
        f"{tool.name}: {line}" for tool in tools for line in unknown_keywords(dict(tool.parameters))
    ]
    return OutputConstraint(SOURCE, grammar, unheld=tuple(unheld), unknown=tuple(unknown))


def _id(special: Special, vocabulary: Vocabulary) -> int:
    (found,) = encode([special], vocabulary)
    return found
