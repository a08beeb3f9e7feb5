"""From a request to what is generated: its prompt, settings and constraint.

The rules are those of ``ask`` and ``chat``. What is special to chat requests is in
:mod:`.chat_requests`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output.answer import overflow_error, reserved_tokens
from dslocal.prompts.families.base import BOS
from dslocal.prompts.families.plain import Completion

from .wire.errors import ApiError
from .wire.schemas import AskRequest, CompletionRequest, SamplingFields

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext

MAX_SHOWN_NAME = 100


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
    math: bool | None = None

    @cached_property
    def max_characters(self) -> int:
        """Return a number of characters beyond which no text fits the context."""
        longest = max(len(token.encode()) for token in self.context.model.header.tokens())
        return self.context.n_ctx * longest

    def require_name(self, name: str | None) -> None:
        """Refuse a request for another model.

        Raises:
            ApiError: 404.
        """
        if name is not None and name not in self.names:
            raise ApiError(
                404,
                f"there is no model {name[:MAX_SHOWN_NAME]!r} here, only {self.name!r}",
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
        forced_tool: The tool whose arguments the answer is.
        ignores_cache: Whether nothing of the KV cache is used.
        ids: The prompt's token ids, filled in by :func:`validated`.
    """

    family: prompts.Family
    prompt: Sequence[prompts.Segment]
    settings: prompts.Settings
    seed: int
    n: int = 1
    top_logprobs: int | None = None
    constraint: output.OutputConstraint | None = None
    forced_tool: str | None = None
    ignores_cache: bool = False
    ids: Sequence[int] = ()


def prepare_completion(served: ServedModel, request: CompletionRequest) -> PreparedRequest:
    """Return what is generated to continue a text, or to fill the gap before a suffix.

    Raises:
        ApiError: A field cannot be used.
        DslocalError: The family cannot fill gaps, or the prompt does not fit the context.
    """
    served.require_name(request.model)
    family = served.family
    prompt: Sequence[prompts.Segment]
    if request.suffix is not None:
        prompt = family.render_fim(request.prompt, request.suffix)
        settings = served.fim_settings
    else:
        if not family.is_base:
            family = replace(family, format=Completion(), is_base=True)
        prompt = [BOS, prompts.PlainText(request.prompt)]
        settings = served.settings
    prepared = PreparedRequest(
        family=family,
        prompt=prompt,
        settings=with_request_settings(settings, request),
        seed=seed_of(request),
        n=request.n or 1,
        top_logprobs=request.logprobs,
    )
    return validated(served, prepared)


def prepare_ask(served: ServedModel, request: AskRequest) -> PreparedRequest:
    """Return what ``dslocal ask`` would generate in a process of its own.

    Raises:
        ApiError: 404 where this server has another model.
        DslocalError: As in that process.
    """
    if request.fingerprint != served.fingerprint or request.family not in prompts.FAMILIES:
        raise ApiError(
            404, "another model is served here", code="model_not_found", param="fingerprint"
        )
    family = prompts.FAMILIES[request.family]
    settings = family.defaults
    for name, value in request.settings.items():
        if value is not None:
            settings = with_setting(settings, name, value, name)
    messages = [prompts.Message("user", request.text)]
    if request.system:
        messages.insert(0, prompts.Message("system", request.system))
    prepared = PreparedRequest(
        family=family,
        prompt=family.render(messages, prompts.Thinking(request.thinking)),
        settings=settings,
        seed=request.seed,
        top_logprobs=request.top_logprobs,
        constraint=_ask_constraint(request),
        ignores_cache=request.fresh,
    )
    return validated(served, prepared)


def _ask_constraint(request: AskRequest) -> output.OutputConstraint | None:
    form = request.form
    if form is None:
        return None
    if form.schema_text is not None:
        return output.constraint_from_schema(json.loads(form.schema_text), form.source)
    if form.grammar_text is not None:
        from dslocal.engine.grammar import grammar

        return output.OutputConstraint(form.source, grammar.gbnf_to_grammar(form.grammar_text))
    return None


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
    length = sum(len(text) for text in texts)
    if length > served.max_characters:
        raise ContextOverflowError(
            f"the prompt has {length:,} characters; "
            f"the context holds {context.n_ctx:,} tokens, which are fewer"
        )
    ids = prompts.encode(prepared.prompt, context.model)
    if len(ids) + reserved_tokens(prepared.settings, context.n_ctx) > context.n_ctx:
        raise overflow_error(context, prepared.settings, len(ids))
    try:
        output.resolve_logit_bias(prepared.settings.logit_bias, context.model)
    except UsageError as e:
        raise ApiError(422, str(e), param="logit_bias") from None
    if prepared.constraint:
        Grammar(context.model, prepared.constraint.grammar)
    return replace(prepared, ids=ids)


def with_request_settings(settings: prompts.Settings, request: SamplingFields) -> prompts.Settings:
    """Return ``settings`` with the sampling fields of a request above them.

    Raises:
        ApiError: 422 for a value that is out of range.
    """
    for name in prompts.SETTINGS:
        value: Any = getattr(request, name, None)
        if value is None:
            continue
        if name == "logit_bias":
            value = [f"{token}={bias}" for token, bias in value.items()]
        if name == "stop" and isinstance(value, str):
            value = [value]
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
    """Return the seed of a request, or a random one."""
    return int.from_bytes(os.urandom(4), "little") if request.seed is None else request.seed
