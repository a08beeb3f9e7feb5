"""What is generated for one request, and the rules that all kinds of requests share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output.answer import overflow_error, reserved_tokens
from dslocal.server.exchange.events import new_key
from dslocal.server.exchange.tasks import ContextLimit, Task
from dslocal.server.wire.base_schemas import MAX_SEED
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.engine.grammar.grammar import Grammar

    from .sampled_answers import SampledAnswers


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


@dataclass(frozen=True)
class PreparedRequest:
    """What is generated for one request.

    Attributes:
        family: How the output is read.
        prompt: The prompt's segments, whose token ids are ``ids``.
        prefilled: Those at the end of the prompt that are the beginning of the answer.
        settings: How tokens are sampled.
        seed: The seed of the first answer; the k-th has ``seed`` + k.
        n: The number of answers.
        top_logprobs: How many alternatives each token's logprobs have; None for no logprobs.
        constraint: What the answer must look like.
        grammar: The constraint's grammar, filled in by :func:`validated`.
        ignores_cache: Whether nothing of the KV cache is used.
        ids: The prompt's token ids, filled in by :func:`validated` where they were not sent.
        echo: What stands before every text of the response.
        has_prompt_logprobs: Whether the prompt's tokens have logprobs too.
        has_answer: Whether anything is generated.
        ignored: What the client sent and the answer does not obey.
        key: Names the request. Ids of the response and of its tool calls are made of it.
    """

    family: prompts.Family
    prompt: Sequence[prompts.Segment]
    settings: prompts.Settings
    seed: int
    prefilled: Sequence[prompts.Segment] = ()
    n: int = 1
    top_logprobs: int | None = None
    constraint: output.OutputConstraint | None = None
    grammar: Grammar | None = None
    ignores_cache: bool = False
    ids: Sequence[int] = ()
    echo: str = ""
    has_prompt_logprobs: bool = False
    has_answer: bool = True
    ignored: tuple[IgnoredField, ...] = ()
    key: str = field(default_factory=new_key)


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
