"""The model that answers, and the rules that requests of all kinds share."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output.answer import overflow_error, reserved_tokens
from dslocal.server.exchange.tasks import ContextLimit, Task
from dslocal.server.wire.base_schemas import MAX_SEED
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError

from .prepared_request import PreparedRequest
from .sampled_answers import SampledAnswers

if TYPE_CHECKING:
    from dslocal.engine import EngineContext


@dataclass(frozen=True)
class ServedModel:
    """The model that answers, and what holds for all requests.

    Attributes:
        context: Any of the contexts that generate.
        family: How it is prompted and read.
        settings: The family's settings with what the user set above them.
        fim_settings: The same for filling gaps.
        thinking: How answers begin where the request does not say.
        name: The name that it is listed by.
        fingerprint: The fingerprint of its file.
        sampled_answers: Its answers with calls, as it wrote them.
        math: Whether the directive for mathematics is added; None decides by the question.
    """

    context: EngineContext
    family: prompts.Family
    settings: prompts.Settings
    fim_settings: prompts.Settings
    thinking: prompts.Thinking
    name: str
    fingerprint: str
    sampled_answers: SampledAnswers
    math: bool | None = None


def validated(served: ServedModel, prepared: PreparedRequest) -> PreparedRequest:
    """Return ``prepared`` with the ids of its prompt, if it can be generated.

    What cannot be generated is refused here, before the request waits in the queue.

    Raises:
        ContextOverflowError: The prompt leaves no room for an answer.
        UsageError: No text satisfies the constraint.
        ApiError: A bias is on something that is not a token.
    """
    from dslocal.engine.grammar.grammar import Grammar

    context = served.context
    texts = [part.text for part in prepared.prompt if isinstance(part, prompts.PlainText)]
    least = sum(context.model.least_tokens(text) for text in texts)
    if least > context.n_ctx:
        raise ContextOverflowError(
            f"the prompt has {sum(map(len, texts)):,} characters, which are {least:,} tokens or "
            f"more; the context holds {context.n_ctx:,}"
        )
    ids = prepared.ids or prompts.encode(prepared.prompt, context.model)
    if len(ids) + reserved_tokens(prepared.settings, context.n_ctx) > context.n_ctx:
        raise overflow_error(context, prepared.settings, len(ids))
    try:
        output.resolve_logit_bias(prepared.settings.logit_bias, context.model)
    except UsageError as e:
        raise ApiError(422, str(e), param="logit_bias") from None
    grammar = None
    if prepared.constraint:
        grammar = Grammar(context.model, prepared.constraint.grammar)
    return replace(prepared, ids=ids, grammar=grammar)


def with_context_limit(
    served: ServedModel, prepared: PreparedRequest, limit: ContextLimit | None
) -> PreparedRequest:
    """Return ``prepared`` with an answer that ends where prompt and answer reach ``limit``.

    The context itself was decided when the model was loaded. A limit that it does not hold, or that
    the prompt reaches already, is named as not obeyed.
    """
    if limit is None:
        return prepared
    room = limit.tokens - len(prepared.ids)
    if limit.tokens > served.context.n_ctx:
        reason = "the context is set when the server starts (dslocal serve --ctx)"
    elif room < 1:
        reason = "the prompt is longer, and the server does not shorten prompts"
    else:
        most = min(room, prepared.settings.max_tokens.value)
        settings = with_setting(prepared.settings, "max_tokens", most, limit.field)
        return replace(prepared, settings=settings)
    ignored = (*prepared.ignored, IgnoredField(limit.field, reason))
    return replace(prepared, ignored=ignored)


def with_sent_settings(
    served: ServedModel, settings: prompts.Settings, task: Task
) -> prompts.Settings:
    """Return ``settings`` with those of a task above them.

    Where the limit of tokens is None, the context ends the answer.

    Raises:
        ApiError: 422 for a value that is out of range.
    """
    for sent in task.settings:
        value = sent.value
        if sent.name == "max_tokens" and value is None:
            value = served.context.n_ctx
        settings = with_setting(settings, sent.name, value, sent.param)
    return settings


def with_setting(settings: prompts.Settings, name: str, value: Any, param: str) -> prompts.Settings:
    """Return ``settings`` with one value, which came in the field ``param``.

    Raises:
        ApiError: 422 for a value that is out of range.
    """
    try:
        return settings.with_value(name, value, param)
    except UsageError as e:
        raise ApiError(422, f"{e}: {e.hint}" if e.hint else str(e), param=param) from None


def seed_of(task: Task) -> int:
    """Return the seed of a task, without its sign, or a random one."""
    if task.seed is None:
        return int.from_bytes(os.urandom(4), "little")
    return task.seed & MAX_SEED
