"""Requests of ``dslocal ask``: the server generates what that process would have generated."""

from __future__ import annotations

import json

from dslocal import output, prompts
from dslocal.server.wire.ask.schemas import AskRequest
from dslocal.server.wire.errors import ApiError

from .prepared_request import PreparedRequest
from .requests import ServedModel, validated, with_setting


def prepare_ask(served: ServedModel, request: AskRequest) -> list[PreparedRequest]:
    """Return what ``dslocal ask`` would generate in a process of its own.

    Raises:
        ApiError: 404 where this server has another model.
        DslocalError: As in that process.
    """
    if request.family not in prompts.FAMILIES:
        raise ApiError(
            404, "another model is served here", code="model_not_found", param="fingerprint"
        )
    family = prompts.FAMILIES[request.family].with_effort(request.effort or None)
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
    return [validated(served, prepared)]


def _ask_constraint(request: AskRequest) -> output.OutputConstraint | None:
    form = request.form
    if form is None:
        return None
    if form.schema_text is not None:
        return output.constraint_from_schema(json.loads(form.schema_text), form.source)
    if form.grammar_text is not None:
        return output.constraint_from_gbnf(form.grammar_text, form.source)
    return None
