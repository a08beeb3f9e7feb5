"""Requests of ``/infill``: a gap with other code around it, as llama.vim and llama.vscode send it.

As in llama-server (``format_prompt_infill`` of tools/server/server-common.cpp), snippets of other
files stand before the gap's own text, and ``prompt`` is the beginning of what fills the gap.
"""

from __future__ import annotations

from dslocal import prompts
from dslocal.output.answer import reserved_tokens
from dslocal.server.wire.schemas import InfillRequest

from .requests import PreparedRequest, ServedModel, seed_of, validated, with_request_settings

SNIPPET = "\n\n--- snippet ---\n\n"


def prepare_infill(served: ServedModel, request: InfillRequest) -> list[PreparedRequest]:
    """Return what is generated to fill a gap: one request in a list.

    Raises:
        ApiError: A field cannot be used.
        DslocalError: The family cannot fill gaps, or the gap does not fit the context.
    """
    served.require_name(request.model)
    settings = with_request_settings(served, served.fim_settings, request)
    room = served.context.n_ctx - reserved_tokens(settings, served.context.n_ctx)
    prefix = _snippets(served, request, room) + request.input_prefix
    prompt = served.family.render_fim(prefix, request.input_suffix)
    if request.prompt:
        prompt.append(prompts.PlainText(request.prompt))
    prepared = PreparedRequest(
        family=served.family,
        prompt=prompt,
        settings=settings,
        seed=seed_of(request),
        has_answer=request.max_tokens != 0,
    )
    return [validated(served, prepared)]


def _snippets(served: ServedModel, request: InfillRequest, room: int) -> str:
    """Return as many of the snippets as there is room for: the last ones, which are the newest."""
    model = served.context.model
    gap = (request.input_prefix, request.input_suffix, request.prompt)
    if sum(map(model.least_tokens, gap)) > room:
        return ""  # the gap alone is too long, which is refused
    room -= sum(len(model.encode(text)) for text in gap)
    kept: list[str] = []
    for extra in reversed(request.input_extra):
        text = SNIPPET + extra.text
        if model.least_tokens(text) > room:
            break
        room -= len(model.encode(text))
        if room < 0:
            break
        kept.append(text)
    return "".join(reversed(kept)) + ("\n\n" if kept else "")
