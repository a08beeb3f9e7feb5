"""The JSON of an answer that ``--json`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dslocal import evaluation, output
from dslocal.catalog.quant_names import quant_of_header
from dslocal.cli.session_setup import ModelFile
from dslocal.server.wire.logprobs import chat_logprobs

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel

DECIMALS = 6


class HasModel(Protocol):
    """A context, here or in a server."""

    @property
    def model(self) -> LlamaModel:
        """Return the model, of which the vocabulary is enough."""


def answer_json(
    turn: output.Turn, context: HasModel, file: ModelFile, load_s: float, failure: str = ""
) -> dict[str, Any]:
    """Return one answer as JSON.

    Args:
        turn: The answer.
        context: Has the model, which is looked at only where tokens have to be spelled.
        file: The model's file.
        load_s: The seconds that loading took.
        failure: Why it ended before its end; empty where nothing failed.
    """
    if turn.settle is not None:  # llama.cpp ends this process
        turn.settle()
    fields: dict[str, Any] = {
        "answer": turn.text,
        "reasoning": turn.reasoning,
        "final": evaluation.boxed_content(turn.text),
        "seed": turn.seed,
        "finish_reason": turn.finish_reason.value if turn.finish_reason else "interrupted",
        "no_answer": turn.no_answer,
        "usage": _usage(turn),
        "timings": _timings(turn, load_s),
    }
    if failure:
        fields["error"] = failure
    if turn.timings and turn.timings.streaming:
        fields["streaming"] = turn.timings.streaming.as_json()
    if turn.top_logprobs is not None:
        model = context.model
        fields["logprobs"] = [chat_logprobs(entry, model, with_ids=True) for entry in turn.logprobs]
    if file.engine is not None:
        fields["model"] = file.engine.model
        fields["engine"] = file.engine.address.url
    else:
        fields["model"] = file.header.text("general.name")
        fields["file"] = str(file.path)
        fields["quant"] = quant_of_header(file.header)
    fields["family"] = file.family.name
    return fields


def _usage(turn: output.Turn) -> dict[str, int]:
    return {
        "prompt_tokens": turn.prompt_tokens,
        "cached_tokens": turn.cached_tokens,
        "completion_tokens": turn.completion_tokens,
        "reasoning_tokens": turn.reasoning_tokens,
        "drafted": turn.drafted_tokens,
        "accepted": turn.accepted_tokens,
    }


def _timings(turn: output.Turn, load_s: float) -> dict[str, float]:
    timings = turn.timings
    return {
        "load_s": round(load_s, DECIMALS),
        "prefill_s": round(timings.prefill, DECIMALS) if timings else 0.0,
        "decode_s": round(timings.decode, DECIMALS) if timings else 0.0,
        "tokens_per_s": round(turn.tokens_per_s, 2),
        "ttft_s": round(timings.ttft, DECIMALS) if timings else 0.0,
    }
