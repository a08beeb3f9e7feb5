"""A model that is ready to answer: what is loaded, and how questions and sessions are made for it.

``Model`` and ``Chat``, which users see, share one such object.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.errors import UsageError

from .answer import AnswerStream
from .arguments.argument_types import FLAG, FUNCTION, PATHS, TEXT, require, require_tools
from .sampling_settings import SamplingSettings

if TYPE_CHECKING:
    from dslocal.chat.session import Session
    from dslocal.engine import EngineContext
    from dslocal.gguf.header import GgufHeader
    from dslocal.output.constraint import OutputConstraint
    from dslocal.prompts import Family, Thinking, Tool
    from dslocal.prompts.settings import Settings

Notice = Callable[[str], None]
OnPrefill = Callable[[int, int], None]


@dataclass
class ReadyModel:
    """A model that is loaded, and what has to be released in the end.

    Attributes:
        path: The file.
        header: Its header.
        family: How it is prompted.
        context: Where answers are generated.
        resources: What is released when the model is closed.
        on_notice: Receives lines that a user should see.
        served_name: What an engine calls the model; empty for a file.
        busy: Held while the model generates, so that two streams cannot mix.
    """

    path: Path
    header: GgufHeader
    family: Family
    context: EngineContext
    resources: ExitStack
    on_notice: Notice
    served_name: str = ""
    busy: threading.Lock = field(default_factory=threading.Lock)
    _is_closed: bool = False

    @property
    def name(self) -> str:
        """Return the model's own name, or else that of its file."""
        if self.served_name:
            return self.served_name
        return self.header.text("general.name") or self.path.stem

    def close(self) -> None:
        """Free the memory of the model. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self.resources.close()

    def stream(
        self, session: Session, text: str, seed: int, on_prefill: OnPrefill | None
    ) -> AnswerStream:
        """Return the answer to a question in ``session``, as a stream of events.

        Raises:
            UsageError: The model is closed.
        """
        require(FUNCTION.or_none, on_prefill=on_prefill)
        self.require_open()
        events = session.stream(text, seed, on_prefill=on_prefill)
        return AnswerStream(events, lambda: session.turn, self.busy)

    def open_session(
        self,
        system: str,
        reasoning: tuple[Family, Thinking],
        tools: Sequence[Tool],
        settings: SamplingSettings,
    ) -> Session:
        """Return a new session; where the vendor advises against its settings, say so.

        Args:
            system: Instructions for the whole conversation.
            reasoning: The family with its effort, and how answers begin.
            tools: Functions that the model may call.
            settings: Settings of sampling; None keeps the vendor's.
        """
        from dslocal.chat import open_session

        require(TEXT, system=system)
        require_tools(tools)
        family, way = reasoning
        chosen = self.settings(settings)
        for line in self.family.advice(chosen, way, system):
            self.on_notice(line)
        return open_session(self.context, family, chosen, system, way, tools)

    def compose(
        self,
        text: str,
        files: Sequence[str | Path],
        math: bool | None,
        constraint: OutputConstraint | None,
    ) -> str:
        """Return a question with its files, and the vendor's directive where it belongs.

        Notes on the files become warnings at the line that asked the question: the caller of the
        caller's caller.

        Args:
            text: The question.
            files: Text files to attach.
            math: Whether the directive for mathematics is added; None decides by the question.
            constraint: What the answer must look like; None for any text.
        """
        from dslocal.prompts import compose_question

        require(TEXT, text=text)
        require(PATHS, files=files)
        require(FLAG.or_none, math=math)
        if math is None and constraint is not None:
            math = False  # a boxed answer has another shape than the one asked for
        question = compose_question(
            self.family, text, files=[Path(file) for file in files], math=math
        )
        for note in question.notes:
            warnings.warn(note, stacklevel=4)
        return question.text

    def settings(self, values: SamplingSettings) -> Settings:
        """Return the vendor's settings with ``values`` in place of some; None keeps one."""
        chosen = self.family.defaults
        for name, value in values.items():
            if value is not None:
                chosen = chosen.with_value(name, value, name)
        return chosen

    def reasoning(self, thinking: bool | None, effort: str | None) -> tuple[Family, Thinking]:
        """Return the family with its effort, and how answers begin.

        Args:
            thinking: Whether answers reason; None does what the vendor recommends.
            effort: How thoroughly; None for the vendor's effort.

        Raises:
            UsageError: The model does not support one of them.
        """
        from dslocal.prompts import Thinking, choose_effort

        require(FLAG.or_none, thinking=thinking)
        require(TEXT.or_none, effort=effort)
        family, thinking = choose_effort(self.family, effort, thinking)
        if thinking is None:
            return family, family.default_thinking
        way = Thinking.FORCED if thinking else Thinking.BYPASSED
        if way not in self.family.thinking_modes:
            raise UsageError(
                f"family {self.family.name} ({self.family.title}) has no reasoning",
                hint="use thinking=None",
            )
        return family, way

    def require_open(self) -> None:
        """Raise UsageError where the model is closed."""
        if self._is_closed:
            raise UsageError(f"{self.name}: the model is closed")
