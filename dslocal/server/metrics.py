"""The counters of the server, in Prometheus's text format at ``/metrics``.

They contain nothing of any prompt, answer or key.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dslocal import output

from .models.model_set import ModelSet

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)  # seconds
SPEED_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # tokens a second


class Metrics:
    """The counters of one server. The state of ``models`` is read when the metrics are."""

    def __init__(self, models: ModelSet) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "dslocal_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._prompt_tokens = self._counter("dslocal_prompt_tokens", "Tokens of prompts.")
        self._cached_tokens = self._counter(
            "dslocal_prompt_tokens_cached", "Tokens of prompts that were in the cache already."
        )
        self._completion_tokens = self._counter("dslocal_completion_tokens", "Tokens generated.")
        self._reasoning_tokens = self._counter(
            "dslocal_reasoning_tokens", "Tokens generated that were reasoning."
        )
        self._cut_answers = self._counter(
            "dslocal_answers_cut_short",
            "Answers that ended because the client disconnected or the server stopped.",
        )
        evictions = self._counter(
            "dslocal_model_evictions", "Models unloaded because another needed their memory."
        )
        models.on_eviction = evictions.inc
        self._first_token = Histogram(
            "dslocal_first_token_seconds",
            "From the start of the prompt to the first token.",
            buckets=FIRST_TOKEN_BUCKETS,
            registry=self._registry,
        )
        self._speed = Histogram(
            "dslocal_answer_tokens_per_second",
            "Tokens per second of one answer.",
            buckets=SPEED_BUCKETS,
            registry=self._registry,
        )
        for name, description, read in (
            ("dslocal_answers_running", "Answers being generated.", lambda: models.busy),
            ("dslocal_requests_waiting", "Requests in the queue.", lambda: models.waiting),
            ("dslocal_places", "Answers that can be generated at once.", lambda: models.n_slots),
            ("dslocal_models_loaded", "Models in memory.", lambda: len(models.queues)),
        ):
            Gauge(name, description, registry=self._registry).set_function(read)

    def count(self, turn: output.Turn, was_cut: bool) -> None:
        """Count an answer that has ended, because its client left or the server stops if it
        ``was_cut``.
        """
        self._prompt_tokens.inc(turn.prompt_tokens)
        self._cached_tokens.inc(turn.cached_tokens)
        self._completion_tokens.inc(turn.completion_tokens)
        self._reasoning_tokens.inc(turn.reasoning_tokens)
        self._cut_answers.inc(was_cut)
        if turn.timings and turn.completion_tokens:
            self._first_token.observe(turn.timings.ttft)
            self._speed.observe(turn.tokens_per_s)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, description: str) -> Counter:
        return Counter(name, description, registry=self._registry)
