"""Requests of ``/infill``: a gap with other code around it, as llama.vim and llama.vscode send it.

As in llama-server (``format_prompt_infill`` of tools/server/server-common.cpp), snippets of other
files stand before the gap's own text, and the beginning of what
fills the gap may be given.
"""

from __future__ import annotations

from dslocal import prompts
from dslocal.output.answer import reserved_tokens
from dslocal.server.exchange.tasks import InfillTask

from .prepared_request import PreparedRequest
from .requests import ServedModel, seed_of, validated, with_sent_settings

SNIPPET = "\n\n--- snippet ---\n\n"


def prepare_infill(served: ServedModel, task: InfillTask) -> list[PreparedRequest]:
    """Return what is generated to fill a gap: one request in a list.

    Raises:
        ApiError: A field cannot be used.
        DslocalError: The family cannot fill gaps, or the gap does not fit the context.
    """
    settings = with_sent_settings(served, served.fim_settings, task)
    room = served.context.n_ctx - reserved_tokens(settings, served.context.n_ctx)
    prefix = _snippets(served, task, room) + task.prefix
    prompt = served.family.render_fim(prefix, task.suffix)
    if task.beginning:
        prompt.append(prompts.PlainText(task.beginning))
    prepared = PreparedRequest(
        family=served.family,
        prompt=prompt,
        settings=settings,
        seed=seed_of(task),
        has_answer=task.has_answer,
    )
    return [validated(served, prepared)]


def _snippets(served: ServedModel, task: InfillTask, room: int) -> str:
    """Return as many of the snippets as there is room for: the last ones, which are the newest."""
    model = served.context.model
    gap = (task.prefix, task.suffix, task.beginning)
    if sum(map(model.least_tokens, gap)) > room:
        return ""  # the gap alone is too long, which is refused
    room -= sum(len(model.encode(text)) for text in gap)
    kept: list[str] = []
    for snippet in reversed(task.snippets):
        text = SNIPPET + snippet
        if model.least_tokens(text) > room:
            break
        room -= len(model.encode(text))
        if room < 0:
            break
        kept.append(text)
    return "".join(reversed(kept)) + ("\n\n" if kept else "")
