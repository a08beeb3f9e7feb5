"""What is generated for one request, and the rules that all kinds of requests share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output.answer import overflow_error, reserved_tokens
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import MAX_SEED, SamplingFields

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext
    from dslocal.engine.grammar.grammar import Grammar

MAX_SHOWN_NAME = 100
NO_LIMIT = (-1, -2)  # llama-server's and LM Studio's numbers for as many tokens as fit


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
        names: All names that requests may give it.
        fingerprint: The fingerprint of its file.
        aliases: Names besides, which are listed too.
        has_any_name: Whether it answers to every name.
        math: Whether the directive for mathematics is added; None decides by the question.
    """

    context: LlamaContext
    family: prompts.Family
    settings: prompts.Settings
    fim_settings: prompts.Settings
    thinking: prompts.Thinking
    name: str
    names: frozenset[str]
    fingerprint: str
    aliases: tuple[str, ...] = ()
    has_any_name: bool = False
    math: bool | None = None

    def require_name(self, name: str | None) -> None:
        """Refuse a request for another model.

        Raises:
            ApiError: 404.
        """
        if name is None or self.has_any_name:
            return
        if name not in self.names and name not in self.aliases:
            raise ApiError(
                404,
                f"model {name[:MAX_SHOWN_NAME]!r} is not served here, only {self.name!r} "
                "(serve --alias NAME adds a name, --any-name takes every name)",
                code="model_not_found",
                param="model",
            )


@dataclass(frozen=True)
class PreparedRequest:
    """What is generated for one request.

    Attributes:
        family: How the output is read.
        prompt: The prompt's segments, whose token ids are ``ids``.
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
        uses_functions: Whether calls are answered as ``function_call``, OpenAI's format of 2023.
        hides_reasoning: Whether the reasoning is left out of the response.
        ignored: What the client sent and the answer does not obey.
    """

    family: prompts.Family
    prompt: Sequence[prompts.Segment]
    settings: prompts.Settings
    seed: int
    n: int = 1
    top_logprobs: int | None = None
    constraint: output.OutputConstraint | None = None
    grammar: Grammar | None = None
    ignores_cache: bool = False
    ids: Sequence[int] = ()
    echo: str = ""
    has_prompt_logprobs: bool = False
    has_answer: bool = True
    uses_functions: bool = False
    hides_reasoning: bool = False
    ignored: tuple[IgnoredField, ...] = ()


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


def with_request_settings(
    served: ServedModel, settings: prompts.Settings, request: SamplingFields
) -> prompts.Settings:
    """Return ``settings`` with the sampling fields of a request above them.

    A limit of -1 tokens means none: the context ends the answer.

    Raises:
        ApiError: 422 for a value that is out of range.
    """
    for name in prompts.SETTINGS:
        value: Any = getattr(request, name, None)
        if value is None:
            continue
        if name == "max_tokens" and value == 0:
            continue  # a prompt that is echoed alone
        if name == "max_tokens" and value in NO_LIMIT:
            value = served.context.n_ctx
        if name == "logit_bias":
            value = [f"{token}={bias}" for token, bias in value.items()]
        if name == "stop":  # a form's empty field is sent as "", and ends nothing
            value = [text for text in ([value] if isinstance(value, str) else value) if text]
        settings = with_setting(settings, name, value, name)
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


def seed_of(request: SamplingFields) -> int:
    """Return the seed of a request, without its sign, or a random one."""
    if request.seed is None:
        return int.from_bytes(os.urandom(4), "little")
    return request.seed & MAX_SEED
