"""llama-server's format: ``/completion`` with token ids in and out.

Source: llama.cpp, tools/server (server-schema.cpp for requests; server-task.cpp,
``server_task_result_cmpl_partial::to_json_non_oaicompat``, for events).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dslocal.engine.interface import GrammarSource, SamplingParameters
from dslocal.types import TokenLogprobs

from .protocol import (
    LEAST_LOGPROB,
    ContinuationRequest,
    TokenChunk,
    UnexpectedReplyError,
    integer,
    number,
    objects,
    token_ids,
)

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

# the order that dslocal and vLLM sample in; llama-server's own cuts before the temperature
SAMPLERS = ("penalties", "temperature", "top_k", "top_p", "min_p")
SEEDS = (1 << 32) - 1  # the one after the last means a random one
FINISH = {"eos": "stop", "word": "stop", "limit": "length"}
MAX_SPLIT = 32  # bytes of characters that are taken apart into tokens


class LlamaServer:
    """The protocol of llama-server."""

    name = "llama-server"
    generate_path = "/completion"
    grammar_kinds = frozenset({"json_schema", "gbnf", "choices"})

    def body(self, request: ContinuationRequest) -> dict[str, Any]:
        """Return a request in llama-server's format."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": request.model,
            "prompt": list(request.ids),
            "n_predict": request.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repeat_penalty": sampling.repeat_penalty,
            "repeat_last_n": len(request.ids) + request.max_tokens,
            "samplers": list(SAMPLERS),
            "seed": sampling.seed % SEEDS,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "stream": True,
        }
        if sampling.logit_bias:
            body["logit_bias"] = [[id, bias] for id, bias in sampling.logit_bias.items()]
        if sampling.logprobs is not None:
            body["n_probs"] = max(1, sampling.logprobs)
        if request.grammar is not None:
            body |= _grammar(request.grammar)
        return body

    def reader(self, request: ContinuationRequest, model: LlamaModel) -> LlamaServerReader:
        """Return what reads the response to ``request``."""
        return LlamaServerReader(model, request.sampling.logprobs)

    def tokenize_body(self, model: str, text: str) -> dict[str, Any]:
        """Return the request for the ids of ``text``."""
        return {"model": model, "content": text, "add_special": False, "parse_special": True}

    def notes(self, sampling: SamplingParameters) -> Sequence[str]:
        """Return how llama-server differs from dslocal."""
        found = []
        if sampling.presence_penalty or sampling.frequency_penalty:
            found.append("llama-server's presence and frequency penalties count the prompt as well")
        if sampling.logprobs is not None:
            found.append(
                "llama-server gives no logprobs within a character of several tokens: "
                f"they are {LEAST_LOGPROB:.0f}"
            )
        return found


def _grammar(grammar: GrammarSource) -> dict[str, Any]:
    if grammar.kind == "json_schema":
        return {"json_schema": grammar.value}
    if grammar.kind == "choices":
        return {"grammar": f"root ::= {' | '.join(map(_literal, grammar.value))}"}
    return {"grammar": grammar.value}


def _literal(text: str) -> str:
    """Return GBNF for ``text``.

    GBNF has fewer escapes than JSON. Source: llama.cpp, src/llama-grammar.cpp, ``parse_char``.
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\' or not character.isprintable():
        return f"\\U{ord(character):08X}"
    return character


class LlamaServerReader:
    """Reads the events of one response of llama-server.

    It sends an event for a token only once the text is whole characters, and that event names the
    last token alone. Those before it are found again by the bytes that they stand for.
    """

    def __init__(self, model: LlamaModel, logprobs: int | None) -> None:
        """Read with the vocabulary of ``model``, and so many likeliest tokens with each one."""
        self._model = model
        self._logprobs = logprobs
        self._seen = 0  # tokens

    def read(self, event: dict[str, Any]) -> TokenChunk:
        """Return what ``event`` brings. Raises UnexpectedReplyError."""
        if "prompt_progress" in event:
            return _progress(event["prompt_progress"])
        if event.get("stop") is True:
            return TokenChunk(finish=_finish(event), cached=_cached(event.get("timings")))
        ids = token_ids(event.get("tokens"))
        total = integer(event.get("tokens_predicted"), "a number of tokens")
        missing = total - self._seen - len(ids)
        if missing < 0:
            raise UnexpectedReplyError("a token again that it has sent")
        self._seen = total
        if missing > 0 and len(ids) == 1:
            ids = self._recovered(event.get("content"), ids[0], missing)
        return TokenChunk(tuple(ids), self._read_logprobs(event, ids))

    def _recovered(self, content: Any, last: int, missing: int) -> list[int]:
        """Return the tokens that spell ``content``: ``missing`` ones, and ``last`` after them.

        Where several would do, they are what the vocabulary's own merges make of it, if they can
        be, else the first that are found.
        """
        if not isinstance(content, str):
            raise UnexpectedReplyError("no text")
        canonical = self._model.encode(content)
        if len(canonical) == missing + 1 and canonical[-1] == last:
            return canonical
        data, end = content.encode(), self._model.piece(last)
        if data.endswith(end) and len(data) <= MAX_SPLIT:
            found = self._split(data[: len(data) - len(end)], missing)
            if found is not None:
                return [*found, last]
        return canonical

    def _split(self, data: bytes, count: int) -> list[int] | None:
        """Return ``count`` tokens that spell ``data``, longest first; None where there are none."""
        if count == 0:
            return None if data else []
        for length in range(len(data) - count + 1, 0, -1):
            token = self._model.token_of_bytes(data[:length])
            rest = self._split(data[length:], count - 1) if token is not None else None
            if token is not None and rest is not None:
                return [token, *rest]
        return None

    def _read_logprobs(
        self, event: dict[str, Any], ids: Sequence[int]
    ) -> tuple[TokenLogprobs, ...]:
        """Return the logprobs of ``ids``, of which the event has those of the last ones."""
        if self._logprobs is None or not ids:
            return ()
        sent = objects(event.get("completion_probabilities"), "no logprobs")[-len(ids) :]
        unknown = len(ids) - len(sent)
        found = [TokenLogprobs(id, LEAST_LOGPROB, ()) for id in ids[:unknown]]
        for id, entry in zip(ids[unknown:], sent, strict=True):
            tops = objects(entry.get("top_logprobs"), "no likeliest tokens")[: self._logprobs]
            listed = [
                (integer(top.get("id"), "a token id"), number(top.get("logprob"), "a logprob"))
                for top in tops
            ]
            found.append(
                TokenLogprobs(id, number(entry.get("logprob"), "a logprob"), tuple(listed))
            )
        return tuple(found)


def _progress(sent: Any) -> TokenChunk:
    if not isinstance(sent, dict):
        raise UnexpectedReplyError("invalid progress")
    total = integer(sent.get("total"), "progress")
    cached = integer(sent.get("cache"), "progress")
    done = integer(sent.get("processed"), "progress") - cached
    if done <= 0:
        return TokenChunk()
    return TokenChunk(cached=cached, prefilled=(done, max(total - cached, done)))


def _finish(event: dict[str, Any]) -> str:
    kind = event.get("stop_type")
    if kind not in FINISH:
        raise UnexpectedReplyError("that it gave the answer up")
    return FINISH[kind]


def _cached(timings: Any) -> int | None:
    cached = timings.get("cache_n") if isinstance(timings, dict) else None
    return None if cached is None else integer(cached, "a number of tokens")
