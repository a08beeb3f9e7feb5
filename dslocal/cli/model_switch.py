"""The model that a chat talks with, and putting another in its place: the old one comes back where
the new one cannot be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from dslocal import catalog, chat, prompts
from dslocal.errors import DslocalError, UsageError
from dslocal.gguf.header import GgufHeader

from . import session_setup

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line, for every model."""

    ctx: int | None = None
    kv: str | None = None
    n_gpu_layers: int | None = None
    cpu_moe: str | None = None
    mtp: str = "auto"


@dataclass(frozen=True)
class ModelChoice:
    """A model that could be loaded, and how it is prompted."""

    path: Path
    header: GgufHeader
    family: prompts.Family

    @property
    def name(self) -> str:
        return self.header.text("general.name") or self.path.stem


def choose(model: str | None, family: str | None = None) -> ModelChoice:
    """The model of that name, for a chat. Raises UsageError for a base model, and what
    :func:`.runtime.prepare` raises.
    """
    choice = ModelChoice(*session_setup.prepare(model, family))
    if choice.family.is_base:
        raise UsageError(
            f"{choice.name} is a base model: it goes on with a text and cannot chat",
            hint='dslocal ask "Once upon a time" goes on; the chat or instruct variant talks',
        )
    return choice


@dataclass
class ModelSwitch:
    """Holds the model that is loaded. Use as a context manager."""

    options: Options
    choice: ModelChoice
    _loaded: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> ModelSwitch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loaded.close()

    def load(self, choice: ModelChoice) -> LlamaContext:
        """A context of ``choice``, which stays until the next is loaded. Raises DslocalError; then
        nothing is loaded.
        """
        self._loaded.close()
        o = self.options
        trained = choice.header.of_arch("context_length", 0)
        ctx = (
            o.ctx if o.ctx is None or choice is self.choice or not trained else min(o.ctx, trained)
        )
        overrides = session_setup.pins_for(
            choice.header, ctx, o.kv, o.n_gpu_layers, o.cpu_moe, o.mtp
        )
        self._loaded = ExitStack()
        return self._loaded.enter_context(
            session_setup.running(choice.path, choice.header, overrides)
        )

    def names(self) -> Sequence[str]:
        """Models that are on this machine."""
        shipped = [entry.name for entry in catalog.load_registry().values() if entry.local]
        return [
            *shipped,
            *(entry.full_name for entry in catalog.installed_models() if not entry.missing),
        ]

    def switch(self, session: chat.Session, model: str, say: Callable[[str], None]) -> str:
        """Loads ``model`` for ``session``, history kept, and returns its name. Raises DslocalError,
        with the old model loaded again.
        """
        old, new = self.choice, choose(model)
        explicit = {
            name: s.value for name, s in session.settings.shown().items() if s.source == "/set"
        }
        settings = session_setup.settings_for(new.family.defaults, {})
        for name, value in explicit.items():
            settings = settings.with_value(name, value, "/set")
        thinking = (
            session.thinking
            if session.thinking in new.family.thinking_modes
            and session.thinking is not old.family.default_thinking
            else None
        )
        try:
            session.context = self.load(new)
        except BaseException:
            try:
                session.context = self.load(old)
            except DslocalError as e:
                say(
                    f"{e}: {old.name} cannot be loaded again either, so this ends; dslocal chat --resume goes on"
                )
                raise EOFError from None
            raise
        self.choice = new
        session.family, session.settings, session.thinking = (
            new.family,
            settings,
            thinking or new.family.default_thinking,
        )
        session.turn, session.first_kept = None, 0
        for line in new.family.advice(settings, session.thinking, session.system):
            say(line)
        return new.name
