"""What the server counts, in Prometheus's text format at ``/metrics``. No prompt, answer or key is
in it.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dslocal import output

from .queue import RequestQueue

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Of one server, whose ``desk`` is looked at when asked."""

    def __init__(self, desk: RequestQueue) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "dslocal_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self._prompt = Counter("dslocal_prompt_tokens", "Tokens of prompts.", registry=registry)
        self._cached = Counter(
            "dslocal_prompt_tokens_cached",
            "Tokens of prompts that the cache held already.",
            registry=registry,
        )
        self._completion = Counter(
            "dslocal_completion_tokens", "Tokens generated.", registry=registry
        )
        self._reasoning = Counter(
            "dslocal_reasoning_tokens", "Tokens generated that were reasoning.", registry=registry
        )
        self._cut = Counter(
            "dslocal_answers_cut_short",
            "Answers whose client left, or that the server's stop ended.",
            registry=registry,
        )
        self._first = Histogram(
            "dslocal_first_token_seconds",
            "From the start of the prompt to the first token.",
            buckets=FIRST_S,
            registry=registry,
        )
        self._pace = Histogram(
            "dslocal_answer_tokens_per_second",
            "Of one answer.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
            registry=registry,
        )
        for name, words, look in (
            ("dslocal_answers_running", "Answers being generated.", lambda: desk.busy),
            ("dslocal_requests_waiting", "Requests in the queue.", lambda: desk.waiting),
            ("dslocal_places", "Answers that can be generated at once.", lambda: len(desk.places)),
        ):
            Gauge(name, words, registry=registry).set_function(look)

    def count(self, turn: output.Turn, cut: bool) -> None:
        """An answer has ended, ``cut`` before its time."""
        self._prompt.inc(turn.prompt_tokens)
        self._cached.inc(turn.cached_tokens)
        self._completion.inc(turn.completion_tokens)
        self._reasoning.inc(turn.reasoning_tokens)
        self._cut.inc(cut)
        if turn.timings and turn.completion_tokens:
            self._first.observe(turn.timings.ttft)
            self._pace.observe(turn.tokens_per_s)

    def text(self) -> bytes:
        return generate_latest(self._registry)
