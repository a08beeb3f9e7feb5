"""From a request to what is generated: prompt, settings and form, by the rules that ``ask`` and
``chat`` go by.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output.answer import overflow_error, reserved_tokens
from dslocal.prompts.families.base import BOS
from dslocal.prompts.families.plain import Completion
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import (
    AskRequest,
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    NamedTool,
    Sampling,
    ToolParam,
)

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext


@dataclass(frozen=True)
class ServedModel:
    """What all requests share. ``context`` is any that answers are generated in. ``settings`` are
    the family's with what the user set, ``gap_settings`` those for filling gaps. ``math`` decides
    on the directive outright, as ``--math`` does. ``names`` it answers to."""

    context: LlamaContext
    family: prompts.Family
    settings: prompts.Settings
    gap_settings: prompts.Settings
    thinking: prompts.Thinking
    name: str
    names: frozenset[str]
    fingerprint: str
    math: bool | None = None

    @cached_property
    def most_characters(self) -> int:
        """No text of more characters fits the context, whatever it says."""
        return self.context.n_ctx * max(
            len(token.encode()) for token in self.context.model.header.tokens()
        )

    def require(self, name: str | None) -> None:
        """Raises Fault for a model that is not the one."""
        if name is not None and name not in self.names:
            raise ApiError(
                404,
                f"there is no model {name[:100]!r} here, only {self.name!r}",
                code="model_not_found",
                param="model",
            )


@dataclass(frozen=True)
class PreparedRequest:
    """One request, ready to be generated: ``n`` answers to ``prompt``, whose ids are ``ids``, the
    k-th with ``seed`` + k.

    ``called`` is the tool whose arguments the answer is. ``fresh`` wants nothing from the cache.
    """

    family: prompts.Family
    prompt: Sequence[prompts.Segment]
    ids: Sequence[int]
    settings: prompts.Settings
    seed: int
    n: int = 1
    top_logprobs: int | None = None
    form: output.OutputConstraint | None = None
    called: str | None = None
    fresh: bool = False


def of_chat(served: ServedModel, request: ChatRequest) -> PreparedRequest:
    """Raises Fault and DslocalErrors, ContextOverflowError among them."""
    served.require(request.model)
    family, tools = served.family, _tools(request)
    forced = _forced(request, tools)
    way = _way(served, request, forced=forced is not None)
    form = _form(request)
    if forced is not None:
        schema = dict(forced.parameters) or output.ANY_OBJECT
        form = output.constraint_from_schema(schema, f"the parameters of {forced.name}")
    math = served.math if not (form or tools) else False
    segments = family.render(list(_messages(family, request.messages, math)), way, tools)
    if forced is not None and family.format.tools:
        segments = [*segments, *family.format.tools.begin(forced.name)]
    settings = _settings(served.settings, request)
    if request.max_completion_tokens is not None:
        settings = _with(
            settings, "max_tokens", request.max_completion_tokens, "max_completion_tokens"
        )
    if (
        request.thinking
        and request.thinking.budget_tokens is not None
        and way is not prompts.Thinking.BYPASSED
    ):
        settings = _with(
            settings, "think_budget", request.thinking.budget_tokens, "thinking.budget_tokens"
        )
    top = (request.top_logprobs or 0) if request.logprobs else None
    called = forced.name if forced else None
    return _checked(
        served,
        PreparedRequest(
            family, segments, (), settings, _seed(request), request.n or 1, top, form, called
        ),
    )


def of_completion(served: ServedModel, request: CompletionRequest) -> PreparedRequest:
    """Raises Fault and DslocalErrors, as for a gap that the family cannot fill."""
    served.require(request.model)
    if request.suffix is not None:
        family, segments, settings = (
            served.family,
            served.family.render_fim(request.prompt, request.suffix),
            served.gap_settings,
        )
    else:
        family = (
            served.family
            if served.family.is_base
            else replace(served.family, format=Completion(), is_base=True)
        )
        segments, settings = [BOS, prompts.PlainText(request.prompt)], served.settings
    return _checked(
        served,
        PreparedRequest(
            family,
            segments,
            (),
            _settings(settings, request),
            _seed(request),
            request.n or 1,
            request.logprobs,
            None,
        ),
    )


def of_ask(served: ServedModel, request: AskRequest) -> PreparedRequest:
    """What a local ``dslocal ask`` would generate. Raises Fault where this server has another
    model.
    """
    if request.fingerprint != served.fingerprint or request.family not in prompts.FAMILIES:
        raise ApiError(
            404, "another model is served here", code="model_not_found", param="fingerprint"
        )
    family = prompts.FAMILIES[request.family]
    settings = family.defaults
    for name, value in request.settings.items():
        if value is not None:
            settings = _with(settings, name, value, name)
    messages = [prompts.Message("system", request.system)] if request.system else []
    prompt = family.render(
        [*messages, prompts.Message("user", request.text)], prompts.Thinking(request.thinking)
    )
    form = None
    if request.form and request.form.schema_text is not None:
        form = output.constraint_from_schema(
            json.loads(request.form.schema_text), request.form.source
        )
    elif request.form and request.form.grammar_text is not None:
        from dslocal.engine.grammar import grammar

        form = output.OutputConstraint(
            request.form.source, grammar.gbnf_to_grammar(request.form.grammar_text)
        )
    return _checked(
        served,
        PreparedRequest(
            family,
            prompt,
            (),
            settings,
            request.seed,
            1,
            request.top_logprobs,
            form,
            fresh=request.fresh,
        ),
    )


def _checked(served: ServedModel, asked: PreparedRequest) -> PreparedRequest:
    """``asked`` with its ids. Raises ContextOverflowError before it waits in any queue, UsageError
    for a form that nothing has, and Fault for a bias on no token."""
    from dslocal.engine.grammar.grammar import Grammar

    context = served.context
    length = sum(
        len(segment.text) for segment in asked.prompt if isinstance(segment, prompts.PlainText)
    )
    if length > served.most_characters:
        raise ContextOverflowError(
            f"the prompt has {length:,} characters; the context holds {context.n_ctx:,} tokens, which are fewer"
        )
    ids = prompts.encode(asked.prompt, context.model)
    if len(ids) + reserved_tokens(asked.settings, context.n_ctx) > context.n_ctx:
        raise overflow_error(context, asked.settings, len(ids))
    try:
        output.resolve_logit_bias(asked.settings.logit_bias, context.model)
    except UsageError as e:
        raise ApiError(422, str(e), param="logit_bias") from None
    if asked.form:
        Grammar(
            context.model, asked.form.grammar
        )  # or what nothing can satisfy would show only when it is its turn
    return replace(asked, ids=ids)


def _messages(
    family: prompts.Family, sent: Sequence[ChatMessage], math: bool | None
) -> Iterator[prompts.Message]:
    """The messages as the family writes them; outputs of tools in the order of the calls that they
    answer.
    """
    for place, message in enumerate(sent):
        if message.prefix and (message.role != "assistant" or place + 1 < len(sent)):
            raise ApiError(
                400,
                "prefix is for the last message, an assistant's",
                param=f"messages.{place}.prefix",
            )
    order: dict[str, int] = {}
    waiting: list[ChatMessage] = []
    for message in sent:
        if message.role == "tool":
            waiting.append(message)
            continue
        yield from _outputs(waiting, order)
        waiting = []
        if message.role == "user":
            yield prompts.Message(
                "user", prompts.compose_question(family, message.text, math=math).text
            )
        elif message.role == "assistant":
            calls = message.tool_calls or []
            order = {call.id: number for number, call in enumerate(calls)}
            spoken = tuple(
                prompts.ToolCall(call.function.name, call.function.arguments) for call in calls
            )
            yield prompts.Message(
                "assistant",
                message.text,
                message.reasoning_content or "",
                spoken,
                prefix=bool(message.prefix),
            )
        else:
            yield prompts.Message("system", message.text)
    yield from _outputs(waiting, order)


def _outputs(messages: Sequence[ChatMessage], order: dict[str, int]) -> Iterator[prompts.Message]:
    for message in sorted(
        messages, key=lambda message: order.get(message.tool_call_id or "", len(order))
    ):
        yield prompts.Message("tool", message.text)


def _tools(request: ChatRequest) -> list[prompts.Tool]:
    if request.tool_choice == "none":
        return []
    return [_tool(spec) for spec in request.tools or []]


def _tool(spec: ToolParam) -> prompts.Tool:
    return prompts.Tool(
        spec.function.name, spec.function.description or "", spec.function.parameters or {}
    )


def _forced(request: ChatRequest, tools: Sequence[prompts.Tool]) -> prompts.Tool | None:
    """The tool that has to be called. Raises Fault where there is a choice of several."""
    choice = request.tool_choice
    if choice in (None, "none", "auto"):
        return None
    if request.response_format and request.response_format.type != "text":
        raise ApiError(
            400,
            "response_format and a tool that has to be called are two ways to shape an answer",
            param="tool_choice",
        )
    named = [
        tool
        for tool in tools
        if not isinstance(choice, NamedTool) or tool.name == choice.function.name
    ]
    if len(named) != 1:
        what = "is for one tool; name it" if named else "names no tool of this request"
        raise ApiError(400, f"tool_choice {what}", param="tool_choice")
    return named[0]


def _way(served: ServedModel, request: ChatRequest, *, forced: bool) -> prompts.Thinking:
    """How the answer begins. Raises Fault for a thought that the family does not know."""
    ways = served.family.thinking_modes
    if forced:
        return prompts.Thinking.BYPASSED if prompts.Thinking.BYPASSED in ways else ways[0]
    if request.thinking is None:
        return served.thinking
    if request.thinking.type == "enabled":
        if prompts.Thinking.FORCED in ways:
            return prompts.Thinking.FORCED
        raise ApiError(
            400, f"{served.name} knows no thinking that could be enabled", param="thinking.type"
        )
    return prompts.Thinking.BYPASSED if prompts.Thinking.BYPASSED in ways else ways[0]


def _form(request: ChatRequest) -> output.OutputConstraint | None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return output.constraint_from_schema(output.ANY_OBJECT, "response_format")
    if wanted.json_schema is None:
        raise ApiError(
            422,
            "response_format.json_schema: is needed with this type",
            param="response_format.json_schema",
        )
    form = output.constraint_from_schema(wanted.json_schema.content, "response_format")
    if wanted.json_schema.strict and form.unheld:
        said = "; ".join(form.unheld)[:200]
        raise ApiError(
            400,
            f"response_format: an answer cannot be held to all of this schema: {said}",
            param="response_format.json_schema",
        )
    return form


def _settings(settings: prompts.Settings, request: Sampling) -> prompts.Settings:
    for name in prompts.SETTINGS:
        value: Any = getattr(request, name, None)
        if value is None:
            continue
        if name == "logit_bias":
            value = [f"{token}={number}" for token, number in value.items()]
        settings = _with(
            settings, name, [value] if name == "stop" and isinstance(value, str) else value, name
        )
    return settings


def _with(settings: prompts.Settings, name: str, value: Any, param: str) -> prompts.Settings:
    try:
        return settings.with_value(name, value, param)
    except UsageError as e:
        raise ApiError(422, f"{e}: {e.hint}" if e.hint else str(e), param=param) from None


def _seed(request: Sampling) -> int:
    return int.from_bytes(os.urandom(4), "little") if request.seed is None else request.seed
