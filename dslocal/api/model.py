"""A loaded model: ask questions, hold conversations, fill gaps.

Does not know how a model is loaded (:mod:`.loading`) or prompted (``prompts``).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from dslocal.errors import UsageError

from .answer import Answer, AnswerStream
from .arguments.argument_types import (
    FUNCTION,
    PATH,
    SCHEMA,
    TEXT,
    require,
    require_messages,
)
from .conversation import Chat, read_saved
from .ready_model import OnPrefill, ReadyModel
from .sampling_settings import SamplingSettings, new_seed

if TYPE_CHECKING:
    from dslocal.output.constraint import OutputConstraint
    from dslocal.plan.load_config import LoadConfig
    from dslocal.prompts import Message, Tool


class Model:
    """A loaded model, which generates one answer at a time. Load a second model to generate two."""

    def __init__(self, ready: ReadyModel) -> None:
        """Wrap what is loaded; use :func:`dslocal.load`."""
        self._ready = ready
        self.path = ready.path

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dslocal.Model {self.name!r}, {self.n_ctx:,} tokens of context>"

    def close(self) -> None:
        """Free the memory of the model. Calling it twice does nothing."""
        self._ready.close()

    @property
    def name(self) -> str:
        """Return the model's own name, or else that of its file."""
        return self._ready.name

    @property
    def family(self) -> str:
        """Return the name of the family whose prompts are used."""
        return self._ready.family.name

    @property
    def n_ctx(self) -> int:
        """Return the size of the context: tokens of prompt and answer together."""
        return self._ready.context.n_ctx

    @property
    def load_config(self) -> LoadConfig:
        """Return the settings with which the model was loaded.

        Raises:
            UsageError: the model runs in an engine.
        """
        from dslocal.engine import LlamaContext

        context = self._ready.context
        if not isinstance(context, LlamaContext):
            raise UsageError(
                f"{self.name}: it runs in an engine, which does not say how it is loaded"
            )
        return context.load_config

    def ask(
        self,
        text: str,
        *,
        system: str = "",
        files: Sequence[str | Path] = (),
        thinking: bool | None = None,
        effort: str | None = None,
        math: bool | None = None,
        schema: Mapping[str, Any] | str | Path | None = None,
        grammar: str | Path | None = None,
        tools: Sequence[Tool] = (),
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Answer one question.

        Args:
            text: the question.
            system: instructions before the question.
            files: text files to attach, in the vendor's own template.
            thinking: True reasons first, False skips the reasoning, None does what the vendor
                recommends.
            effort: how thoroughly V4 reasons, such as "high" or "max"; "none" skips the reasoning.
            math: whether the vendor's directive for mathematics is added; None adds it to
                mathematical questions if the model's vendor recommends that.
            schema: a JSON Schema, or a file with one, that the answer must follow.
            grammar: a file with a GBNF grammar that the answer must follow.
            tools: functions that the model may call.
            seed: the same seed gives the same answer. By default a new seed is drawn.
            on_prefill: receives the number of evaluated tokens of the prompt, and the number of
                all.
            **settings: see :class:`SamplingSettings`.

        Returns:
            The answer.

        Raises:
            UsageError: an argument is out of range, or this model does not support it.
            ContextOverflowError: the prompt leaves no room for an answer.
            SchemaError: the answer is complete, but does not satisfy ``schema``.
        """
        answer = self.stream(
            text,
            system=system,
            files=files,
            thinking=thinking,
            effort=effort,
            math=math,
            schema=schema,
            grammar=grammar,
            tools=tools,
            seed=seed,
            on_prefill=on_prefill,
            **settings,
        ).answer
        if answer.finish_reason == "stop":
            answer.parsed  # noqa: B018 - raises SchemaError
        return answer

    def stream(
        self,
        text: str,
        *,
        system: str = "",
        files: Sequence[str | Path] = (),
        thinking: bool | None = None,
        effort: str | None = None,
        math: bool | None = None,
        schema: Mapping[str, Any] | str | Path | None = None,
        grammar: str | Path | None = None,
        tools: Sequence[Tool] = (),
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> AnswerStream:
        """Answer one question as events: Reasoning, Text, ToolCall, and Done at the end.

        The arguments are those of :meth:`ask`. Nothing is generated before the first event is
        requested.
        """
        reasoning = self._ready.reasoning(thinking, effort)
        session = self._ready.open_session(system, reasoning, tools, settings)
        session.constraint = _constraint(schema, grammar)
        question = self._ready.compose(text, files, math, session.constraint)
        return self._ready.stream(session, question, new_seed(seed), on_prefill)

    def chat(
        self,
        *,
        system: str = "",
        thinking: bool | None = None,
        effort: str | None = None,
        tools: Sequence[Tool] = (),
        resume: str | Path | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Chat:
        """Start a conversation, or continue one that was saved.

        Args:
            system: instructions for the whole conversation.
            thinking: as for :meth:`ask`.
            effort: as for :meth:`ask`.
            tools: functions that the model may call.
            resume: a file that :meth:`Chat.save` wrote; its instructions are kept unless ``system``
                is given.
            **settings: see :class:`SamplingSettings`.

        Returns:
            The conversation.
        """
        require(PATH.or_none, resume=resume)
        reasoning = self._ready.reasoning(thinking, effort)
        session = self._ready.open_session(system, reasoning, tools, settings)
        if resume is not None:
            saved = read_saved(Path(resume))
            session.system = system or saved.system
            session.history = list(saved.messages)
        return Chat(self._ready, session)

    def fill(
        self,
        prefix: str,
        suffix: str,
        *,
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Generate the text between two texts (fill in the middle).

        Args:
            prefix: the text before the gap.
            suffix: the text after it.
            seed: as for :meth:`ask`.
            on_prefill: as for :meth:`ask`.
            **settings: see :class:`SamplingSettings`.

        Returns:
            The text of the gap, including white space.

        Raises:
            UsageError: this model does not support fill in the middle.
        """
        from dslocal.output.answer import stream_answer
        from dslocal.output.turn import Turn

        require(TEXT, prefix=prefix, suffix=suffix)
        require(FUNCTION.or_none, on_prefill=on_prefill)
        ready = self._ready
        ready.require_open()
        prompt = ready.family.render_fim(prefix, suffix)
        turn = Turn(prompt_tokens=0, seed=new_seed(seed))
        events: Generator[object] = stream_answer(
            turn,
            ready.context,
            ready.family,
            ready.settings(settings),
            prompt,
            on_prefill=on_prefill,
        )
        return AnswerStream(events, lambda: turn, ready.busy).answer

    def render(
        self,
        messages: Sequence[Message],
        *,
        thinking: bool | None = None,
        effort: str | None = None,
    ) -> str:
        """Return the exact prompt of ``messages``, with special tokens as text."""
        from dslocal.prompts.messages import render

        require_messages(messages)
        family, way = self._ready.reasoning(thinking, effort)
        return render(family.render(list(messages), way))

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of ``text``, without special tokens."""
        require(TEXT, text=text)
        self._ready.require_open()
        return self._ready.context.model.encode(text)


def _constraint(
    schema: Mapping[str, Any] | str | Path | None, grammar: str | Path | None
) -> OutputConstraint | None:
    """Return what an answer must follow: a schema or a grammar, not both."""
    from dslocal.output import constraint_from_schema, read_grammar, read_schema

    require(SCHEMA.or_none, schema=schema)
    require(PATH.or_none, grammar=grammar)
    if schema is not None and grammar is not None:
        raise UsageError("schema and grammar cannot be combined")
    if isinstance(schema, Mapping):
        return constraint_from_schema(dict(schema), "schema")
    if schema is not None:
        return read_schema(Path(schema))
    return read_grammar(Path(grammar)) if grammar is not None else None
