"""Completion requests: texts to continue and gaps to fill, one or several in a request.

Editors write the tokens of a gap into the prompt themselves (Continue, llm-ls, tabby), as
llama-server and vLLM read them. A prompt that is exactly such a gap is read like ``prompt`` and
``suffix``; anywhere else the same spellings are plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dslocal import prompts
from dslocal.prompts.families.base import BOS
from dslocal.prompts.families.plain import Completion
from dslocal.server.exchange.tasks import CompletionTask
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError

from .output_constraints import read_constraint
from .prepared_request import PreparedRequest
from .requests import ServedModel, seed_of, validated, with_sent_settings

SPELLED_TURNS = ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")


def prepare_completions(served: ServedModel, task: CompletionTask) -> list[PreparedRequest]:
    """Return what is generated for each prompt of a completion request.

    Raises:
        ApiError: A prompt cannot be used.
        DslocalError: The family cannot fill gaps, or a prompt does not fit the context.
    """
    seed = seed_of(task)
    prepared = [_prepared(served, task, prompt, seed) for prompt in task.prompts]
    return [validated(served, one) for one in prepared]


def _prepared(
    served: ServedModel, task: CompletionTask, prompt: str | Sequence[int], seed: int
) -> PreparedRequest:
    family = served.family
    gap = _gap(served, task, prompt)
    segments: Sequence[prompts.Segment] = ()
    ids: Sequence[int] = ()
    if gap is not None:
        segments = family.render_fim(gap.prefix, gap.suffix)
    elif isinstance(prompt, str):
        segments = [BOS, prompts.PlainText(prompt.removeprefix(BOS.token))]
    else:
        ids = _checked_ids(served, prompt)
    if gap is None and not family.is_base:
        family = replace(family, format=Completion(), is_base=True)
    settings = served.settings if gap is None else served.fim_settings
    return PreparedRequest(
        family=family,
        prompt=segments,
        settings=with_sent_settings(served, settings, task),
        seed=seed,
        n=task.n,
        top_logprobs=task.top_logprobs,
        constraint=read_constraint(task.constraint),
        ids=ids,
        echo=_echo(served, task, prompt),
        has_prompt_logprobs=task.has_echo and task.top_logprobs is not None,
        has_answer=task.has_answer,
        ignored=_ignored(prompt) if gap is None else (),
    )


def _gap(
    served: ServedModel, task: CompletionTask, prompt: str | Sequence[int]
) -> prompts.Gap | None:
    """Return the gap that is to be filled; None where a text is continued.

    Raises:
        ApiError: 400 where the prompt begins like a gap and is not one.
    """
    fim = served.family.fim
    is_marked = fim is not None and isinstance(prompt, str) and _begins_gap(prompt, fim)
    if task.suffix is not None:
        if not isinstance(prompt, str):
            raise ApiError(400, "suffix needs a prompt that is text", param="suffix")
        if is_marked:
            raise ApiError(
                400, "the prompt spells a gap already: send it without suffix", param="suffix"
            )
        return prompts.Gap(prompt, task.suffix)
    if not is_marked or fim is None or not isinstance(prompt, str):
        return None
    text = prompt.removeprefix(BOS.token).removeprefix(fim.begin.token)
    text = text.removesuffix(fim.end.token)
    parts = text.split(fim.hole.token)
    if len(parts) != 2 or fim.begin.token in text or fim.end.token in text:
        raise ApiError(
            400,
            f"a prompt that begins with {fim.begin.token} has {fim.hole.token} once and ends with "
            f"{fim.end.token}; prompt and suffix take any text",
            param="prompt",
        )
    return prompts.Gap(parts[0], parts[1])


def _begins_gap(prompt: str, fim: prompts.Fim) -> bool:
    return prompt.removeprefix(BOS.token).startswith(fim.begin.token)


def _checked_ids(served: ServedModel, ids: Sequence[int]) -> Sequence[int]:
    """Return ``ids``, which are evaluated as they are.

    Raises:
        ApiError: 422 for what is not a token of this model.
    """
    n_vocab = served.context.model.n_vocab
    if not ids or min(ids) < 0 or max(ids) >= n_vocab:
        raise ApiError(
            422, f"prompt: token ids are 0 to {n_vocab - 1}, and at least one", param="prompt"
        )
    return ids


def _echo(served: ServedModel, task: CompletionTask, prompt: str | Sequence[int]) -> str:
    """Return what stands before every text of the response."""
    if not task.has_echo:
        return ""
    if isinstance(prompt, str):
        return prompt
    model = served.context.model
    return b"".join(model.piece(id) for id in prompt).decode("utf-8", "replace")


def _ignored(prompt: str | Sequence[int]) -> tuple[IgnoredField, ...]:
    """Return what the client should know about a prompt that is continued."""
    if isinstance(prompt, str) and any(token in prompt for token in SPELLED_TURNS):
        reason = (
            "special tokens in it are treated as plain text; use /v1/chat/completions for turns"
        )
        return (IgnoredField("prompt", reason),)
    return ()
