"""SGLang's format: ``/generate`` with token ids in and out.

Source: SGLang's documentation of its native API and sampling parameters;
python/sglang/srt/managers/io_struct.py (``GenerateReqInput``) and tokenizer_manager.py, which
repeats the whole answer in each event unless the server streams incrementally.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dslocal.engine.interface import GrammarSource, SamplingParameters
from dslocal.types import TokenLogprobs

from .protocol import (
    ContinuationRequest,
    TokenChunk,
    UnexpectedReplyError,
    integer,
    number,
    token_ids,
)

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

MAX_SEED = 1 << 63
MAX_TOKENS = 1 << 24


class Sglang:
    """The protocol of SGLang."""

    name = "SGLang"
    generate_path = "/generate"
    grammar_kinds = frozenset({"json_schema", "gbnf", "regex", "choices"})

    def body(self, request: ContinuationRequest) -> dict[str, Any]:
        """Return a request in SGLang's format."""
        sampling = request.sampling
        parameters: dict[str, Any] = {
            "max_new_tokens": request.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repetition_penalty": sampling.repeat_penalty,
            "sampling_seed": sampling.seed % MAX_SEED,
            "stop_token_ids": sorted(request.stop),
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "no_stop_trim": True,
        }
        if sampling.logit_bias:
            parameters["logit_bias"] = {str(id): bias for id, bias in sampling.logit_bias.items()}
        if request.grammar is not None:
            parameters |= _grammar(request.grammar)
        body: dict[str, Any] = {
            "input_ids": list(request.ids),
            "sampling_params": parameters,
            "stream": True,
        }
        if sampling.logprobs is not None:
            body["return_logprob"] = True
            body["logprob_start_len"] = -1  # of the answer alone
            body["top_logprobs_num"] = sampling.logprobs
        return body

    def reader(self, request: ContinuationRequest, model: LlamaModel) -> SglangReader:
        """Return what reads the response to ``request``."""
        return SglangReader(has_logprobs=request.sampling.logprobs is not None)

    def tokenize_body(self, model: str, text: str) -> dict[str, Any]:
        """Return the request for the ids of ``text``."""
        return {"model": model, "prompt": text, "add_special_tokens": False}

    def notes(self, sampling: SamplingParameters) -> Sequence[str]:
        """Return how SGLang differs from dslocal."""
        if sampling.temperature > 0:
            return ("SGLang draws by the seed only with --enable-deterministic-inference",)
        return ()


def _grammar(grammar: GrammarSource) -> dict[str, str]:
    if grammar.kind == "json_schema":
        return {"json_schema": json.dumps(grammar.value)}
    if grammar.kind == "regex":
        return {"regex": grammar.value}
    if grammar.kind == "choices":
        return {"regex": "|".join(re.escape(text) for text in grammar.value)}
    return {"ebnf": grammar.value}


class SglangReader:
    """Reads the events of one response of SGLang, each with all tokens so far or the new ones."""

    def __init__(self, *, has_logprobs: bool) -> None:
        """Read logprobs too, if the request asked for them."""
        self._has_logprobs = has_logprobs
        self._seen = 0  # tokens

    def read(self, event: dict[str, Any]) -> TokenChunk:
        """Return what ``event`` brings. Raises UnexpectedReplyError."""
        about = event.get("meta_info")
        if not isinstance(about, dict):
            raise UnexpectedReplyError("an event without meta_info")
        total = integer(about.get("completion_tokens"), "a number of tokens", most=MAX_TOKENS)
        new = total - self._seen
        sent = token_ids(event.get("output_ids", []))
        if new < 0 or len(sent) < new:
            raise UnexpectedReplyError("fewer token ids than it says that there are")
        self._seen = total
        ids = sent[len(sent) - new :]
        cached = about.get("cached_tokens")
        return TokenChunk(
            tuple(ids),
            _logprobs(about, ids) if self._has_logprobs else (),
            _finish(about.get("finish_reason")),
            None if cached is None else integer(cached, "a number of tokens"),
        )


def _finish(reason: Any) -> str | None:
    if reason is None:
        return None
    kind = reason.get("type") if isinstance(reason, dict) else reason
    if kind in ("stop", "length"):
        return str(kind)
    raise UnexpectedReplyError("that it gave the answer up")


def _logprobs(about: dict[str, Any], ids: Sequence[int]) -> tuple[TokenLogprobs, ...]:
    if not ids:
        return ()
    own = _last(about.get("output_token_logprobs"), len(ids))
    tops = about.get("output_top_logprobs")
    listed = _last(tops, len(ids)) if tops else [None] * len(ids)
    found = []
    for id, entry, top in zip(ids, own, listed, strict=True):
        known, logprob = _entry(entry)
        if known != id:
            raise UnexpectedReplyError("logprobs of other tokens")
        likeliest = [_entry(one) for one in top] if isinstance(top, list) else []
        found.append(TokenLogprobs(id, logprob, tuple(likeliest)))
    return tuple(found)


def _last(value: Any, count: int) -> list[Any]:
    if not isinstance(value, list) or len(value) < count:
        raise UnexpectedReplyError("no logprobs")
    return value[len(value) - count :]


def _entry(value: Any) -> tuple[int, float]:
    """Return id and logprob of ``[logprob, id, text]``."""
    if not isinstance(value, list) or len(value) < 2:
        raise UnexpectedReplyError("no logprobs")
    return integer(value[1], "a token id"), number(value[0], "a logprob")
