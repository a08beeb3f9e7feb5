"""One answer from an engine behind a URL, token by token.

An engine cannot start to apply a grammar, or end the reasoning, in the middle of an answer. So an
answer may take several requests: the prompt of the next one has all tokens so far, which the engine
finds in its cache.

A grammar that the engine does not know, such as that of a family's tool calls, is enforced here: a
token that it forbids is replaced by the likeliest one that it allows, and the next request
continues from there.

A request that failed is sent again only if it returned nothing. Once it has returned a token, it is
not sent again: those tokens are the answer so far.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

from dslocal.engine.interface import AnswerSteering, GenerationRequest, GrammarSource
from dslocal.errors import RemoteEngineError, SchemaError
from dslocal.types import FinishReason, Timings, TokenLogprobs

from .failures import RefusedRequestError, cut_error, nonsense_error
from .grammar import ServerGrammar
from .protocols.protocol import (
    LEAST_LOGPROB,
    ContinuationRequest,
    TokenChunk,
    UnexpectedReplyError,
)
from .retry import with_retries
from .served import check_unchanged

if TYPE_CHECKING:
    from .conversation import RemoteConversation

BUFFERED_TOKENS = 32  # from so many on, an answer that comes all at once is no chance
BUFFERED_SHARE = 0.05  # of the time since the request, within which all of it came
BUFFERED_RATE = 5000.0  # tokens/s that no engine makes for one answer
BUFFERED_S = 1.0
LIKELIEST = 20  # tokens among which one is looked for that a grammar allows; vLLM's limit
MAX_REST = 4  # events after the last token that are read


class _Here(Enum):
    """Marks a grammar that this process enforces, not the engine."""

    HERE = "here"


class RemoteGeneration:
    """One answer while it is made: iterate over it for token ids. See :class:`.TokenStream`.

    Attributes:
        ids: The tokens so far.
        finish_reason: Why it ended; ``INTERRUPTED`` until then.
        cached: How many tokens of the prompt the engine had evaluated already, as far as it says.
        drafted: 0: what an engine drafts is its own affair.
        accepted: 0.
        timings: Seconds until the first token, and of those after it.
        steering: What closes the reasoning, and says where the grammar begins.
        logprobs: One entry a token, if they were asked for.
    """

    def __init__(self, context: RemoteConversation, request: GenerationRequest) -> None:
        """Prepare an answer; iteration starts it."""
        self._context = context
        self._request = request
        self._protocol = context.protocol
        self.ids: list[int] = []
        self.finish_reason = FinishReason.INTERRUPTED
        self.cached = self.drafted = self.accepted = 0
        self.timings = Timings()
        self.steering: AnswerSteering | None = None
        self.logprobs: list[TokenLogprobs] = []
        self._began = 0.0
        self._first_token_at = 0.0

    def __iter__(self) -> Iterator[int]:
        """Yield the answer's token ids.

        Raises:
            KeyboardInterrupt: on Ctrl-C, or when the context is aborted. The connection is closed,
                so that the engine stops too.
            DslocalError: the engine fails, is lost, or sends what makes no sense.
        """
        self._began = time.perf_counter()
        self._context.note_sampling(self._request.sampling)
        try:
            yield from self._tokens()
        finally:
            self._conclude()

    def _conclude(self) -> None:
        request, ended = self._request, time.perf_counter()
        first = self._first_token_at or ended
        self.timings.ttft = self.timings.prefill = first - self._began
        self.timings.decode = ended - first
        self._context.ids = [*request.prompt, *request.partial, *self.ids]

    def _tokens(self) -> Iterator[int]:
        """Yield tokens until the answer ends, in as many requests as that takes."""
        while True:
            while (forced := self._next_forced()) is not None:
                yield self._take(forced, None)
                if self._is_full():
                    self.finish_reason = FinishReason.LENGTH
                    return
            is_over = yield from self._one_request()
            if is_over:
                return

    def _one_request(self) -> Generator[int, None, bool]:
        """Yield the tokens of one request, and return whether the answer ends with them."""
        held = self._held_by()
        chunks = self._chunks(held)
        for chunk in chunks:
            for place, token in enumerate(chunk.ids):
                self._check(token)
                if self._is_refused(token):
                    yield self._take(self._replacement(token, chunk, place), _entry(chunk, place))
                    return self._is_full() and self._end(FinishReason.LENGTH)
                if self._is_end(token):
                    if chunk.finish is None or chunk.cached is None:
                        _read_rest(chunks)
                    return self._end(FinishReason.STOP)
                if self._begins_text(token):
                    return False  # asked again, with the grammar
                yield self._take(token, _entry(chunk, place))
                if self._is_full():
                    return self._end(FinishReason.LENGTH)
                if self._next_forced() is not None or self._held_by() != held:
                    return False
            if chunk.finish is not None:
                if chunk.cached is None:
                    _read_rest(chunks)
                reason = FinishReason.STOP if chunk.finish == "stop" else FinishReason.LENGTH
                return self._end(reason)
        raise cut_error(self._context.engine.address, len(self.ids))

    def _end(self, reason: FinishReason) -> bool:
        """Return whether the answer ends here: not in its reasoning, if a grammar waits for it."""
        steering = self.steering
        waits = steering is not None and steering.grammar is not None and steering.is_reasoning
        if steering is not None and waits and reason is FinishReason.STOP:
            steering.close_reasoning()
            return False
        self.finish_reason = reason
        return True

    def _take(self, token: int, entry: TokenLogprobs | None) -> int:
        """Add a token to the answer, and return it."""
        if not self.ids:
            self._first_token_at = time.perf_counter()
        self.ids.append(token)
        count = self._request.sampling.logprobs
        if count is not None:
            self.logprobs.append(_recorded(token, entry, count))
        if self.steering is not None:
            self.steering.accept(token)
        return token

    def _check(self, token: int) -> None:
        """Refuse a token that the model's vocabulary does not have. Raises RemoteEngineError."""
        if token >= self._context.model.n_vocab:
            address = self._context.engine.address
            raise nonsense_error(address, f"sends token {token}, which its tokenizer has not")

    def _is_end(self, token: int) -> bool:
        return token in self._request.stop or self._context.model.is_end_token(token)

    def _is_full(self) -> bool:
        request = self._request
        tokens = len(request.prompt) + len(request.partial) + len(self.ids)
        return len(self.ids) >= request.max_tokens or tokens >= self._context.n_ctx

    def _next_forced(self) -> int | None:
        return self.steering.next_forced() if self.steering is not None else None

    def _begins_text(self, token: int) -> bool:
        """Return whether the text begins with ``token``, though a grammar waits for its begin."""
        steering = self.steering
        if steering is None or steering.grammar is None or not steering.is_undecided:
            return False
        if steering.is_reasoning or steering.opens_reasoning(token):
            return False
        steering.begin_text()
        return True

    def _held_by(self) -> GrammarSource | _Here | None:
        """Return the grammar that the next token must follow; None within the reasoning."""
        steering = self.steering
        if steering is None or steering.grammar is None:
            return None
        if steering.is_reasoning or steering.is_undecided:
            return None
        if isinstance(steering.grammar, ServerGrammar):
            return steering.grammar.source
        return _Here.HERE

    def _is_refused(self, token: int) -> bool:
        """Return whether a grammar that is enforced here forbids ``token``."""
        steering = self.steering
        if steering is None or self._held_by() is not _Here.HERE:
            return False
        return not steering.allowed(_array([token]))[0]

    def _replacement(self, token: int, chunk: TokenChunk, place: int) -> int:
        """Return the likeliest token that the grammar allows in place of ``token``.

        Raises:
            SchemaError: If none of the tokens that the engine lists is allowed.
            RemoteEngineError: If it lists no token that the vocabulary has.
        """
        entry = _entry(chunk, place)
        n_vocab = self._context.model.n_vocab
        likeliest = [id for id, _ in entry.top if id < n_vocab] if entry is not None else []
        allowed = self.steering.allowed(_array(likeliest)) if self.steering else []
        for id, is_allowed in zip(likeliest, allowed, strict=True):
            if is_allowed:
                return id
        name = self._context.protocol.name
        error = SchemaError if likeliest else RemoteEngineError
        raise error(
            f"{name}: none of the {len(likeliest)} likeliest tokens fits the answer's grammar",
            hint="use another seed, or a grammar that the engine supports: a JSON Schema or GBNF",
        )

    def _chunks(self, held: GrammarSource | _Here | None) -> Iterator[TokenChunk]:
        """Yield what the engine sends; the request is tried again while nothing came."""
        address = self._context.engine.address
        return with_retries(
            lambda: self._send_held(held),
            lambda chunk: bool(chunk.ids),
            lambda: cut_error(address, len(self.ids)),
            self._context.abort,
        )

    def _send_held(self, held: GrammarSource | _Here | None) -> Iterator[TokenChunk]:
        """Yield what the engine sends. Raises SchemaError if it refuses a schema or grammar."""
        try:
            yield from self._send(held)
        except RefusedRequestError as e:
            if not isinstance(held, GrammarSource):
                raise
            raise SchemaError(
                str(e),
                hint="the request has a schema or grammar, which this engine may not support",
            ) from e

    def _send(self, held: GrammarSource | _Here | None) -> Iterator[TokenChunk]:
        """Yield what the engine sends to one request."""
        context, wanted = self._context, self._wanted(held)
        address, reader = context.engine.address, self._protocol.reader(wanted, context.model)
        if not self.ids:
            check_unchanged(context.connection.aborted_by(context.abort), context.engine)
        sent_at = time.perf_counter()
        count, first_at = 0, 0.0
        body = self._protocol.body(wanted)
        with context.connection.events(self._protocol.generate_path, body, context.abort) as events:
            for event in events:
                try:
                    chunk = reader.read(event)
                except UnexpectedReplyError as e:
                    raise nonsense_error(address, f"sends {e}") from None
                first_at = first_at or time.perf_counter()
                count += len(chunk.ids)
                self._report(chunk)
                if chunk.finish is not None:
                    context.note_buffering(is_buffered(count, sent_at, first_at))
                yield chunk

    def _report(self, chunk: TokenChunk) -> None:
        if chunk.cached is not None and not self.cached:
            self.cached = chunk.cached
        on_prefill = self._request.on_prefill
        if on_prefill is None or self.ids:
            return
        if chunk.prefilled:
            on_prefill(*chunk.prefilled)
        elif chunk.ids:
            done = max(1, len(self._request.prompt) - self.cached)
            on_prefill(done, done)

    def _wanted(self, held: GrammarSource | _Here | None) -> ContinuationRequest:
        """Return the request for what follows the tokens so far.

        Each request of an answer has a seed of its own: with the same one, the engine would draw
        the same numbers again.
        """
        request = self._request
        sampling = request.sampling
        if held is _Here.HERE:
            sampling = replace(sampling, logprobs=LIKELIEST)
        before = [*request.partial, *self.ids]
        ids = [*request.prompt, *before]
        room = min(request.max_tokens - len(self.ids), self._context.n_ctx - len(ids))
        return ContinuationRequest(
            self._context.engine.model,
            ids,
            max(1, room),
            replace(sampling, seed=sampling.seed + len(before)),
            request.stop,
            held if isinstance(held, GrammarSource) else None,
        )


def _recorded(token: int, entry: TokenLogprobs | None, count: int) -> TokenLogprobs:
    """Return what is recorded of a token: of one that the engine did not choose, what is known."""
    if entry is None:
        return TokenLogprobs(token, 0.0, ())
    logprob = entry.logprob if entry.id == token else dict(entry.top).get(token, LEAST_LOGPROB)
    return TokenLogprobs(token, logprob, entry.top[:count])


def _array(ids: Sequence[int]) -> Any:
    import numpy as np

    return np.array(ids, np.intp)


def _read_rest(chunks: Iterator[TokenChunk]) -> None:
    """Read what an engine sends after the last token: how much of the prompt was cached."""
    with suppress(RemoteEngineError):  # the answer is whole
        for _ in islice(chunks, MAX_REST):
            pass


def _entry(chunk: TokenChunk, place: int) -> TokenLogprobs | None:
    return chunk.logprobs[place] if place < len(chunk.logprobs) else None


def is_buffered(tokens: int, sent_at: float, first_at: float) -> bool:
    """Return whether an answer that has just ended was held back on its way.

    Args:
        tokens: How many it has.
        sent_at: When the request was sent, in seconds.
        first_at: When the first event came.
    """
    took = time.perf_counter() - first_at
    waited = first_at - sent_at
    return (
        tokens >= BUFFERED_TOKENS
        and waited > BUFFERED_S
        and took < BUFFERED_SHARE * waited
        and tokens > BUFFERED_RATE * took
    )
