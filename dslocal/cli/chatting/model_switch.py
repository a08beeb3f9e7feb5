"""The model of a chat, and the change to another model.

Where the new model cannot be loaded, the old one is loaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING

from dslocal import catalog, chat, prompts
from dslocal.cli import session_setup
from dslocal.cli.load_overrides import load_overrides
from dslocal.cli.option_groups import LoadOptions
from dslocal.cli.session_setup import ModelFile
from dslocal.errors import DslocalError, UsageError

if TYPE_CHECKING:
    from dslocal.cli.engine_choice import EngineChoice
    from dslocal.engine import EngineContext
    from dslocal.plan.overrides import Overrides

SET_COMMAND = "/set"  # the source of settings that were changed in the chat


def choose_chat_model(
    model: str | None, family: str | None = None, engine: EngineChoice | None = None
) -> ModelFile:
    """Return the model of that name, for a chat, of an engine where one was chosen.

    Raises:
        UsageError: It is a base model.
        DslocalError: As :func:`.session_setup.prepare_model`.
    """
    if engine is None:
        choice = session_setup.prepare_model(model, family)
    else:
        choice = session_setup.prepare_served_model(engine, model, family, is_said=True)
    if choice.family.is_base:
        raise UsageError(
            f"{choice.name} is a base model: it continues a text and cannot chat",
            hint='dslocal ask "Once upon a time" continues; the chat or instruct variant talks',
        )
    return choice


@dataclass
class ModelSwitch:
    """Holds the model that is loaded. Use it as a context manager.

    Attributes:
        options: How every model is loaded.
        choice: The current model.
        engine: The engine that serves all of them; None for models of this machine.
        notify: Shows a line.
    """

    options: LoadOptions
    choice: ModelFile
    engine: EngineChoice | None = None
    notify: Callable[[str], None] = session_setup.print_line
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

    def load(self, choice: ModelFile) -> EngineContext:
        """Return a context of ``choice``, which stays open until the next is loaded.

        Raises:
            DslocalError: It cannot be loaded; then no model is.
        """
        self._loaded.close()
        options = self.options
        if choice.engine is not None:
            return self._open(choice, load_overrides(choice, options))
        trained = choice.header.of_arch("context_length", 0)
        if options.ctx is not None and trained and choice is not self.choice:
            options = replace(options, ctx=min(options.ctx, trained))
        return self._open(choice, load_overrides(choice, options))

    def _open(self, choice: ModelFile, chosen: Overrides) -> EngineContext:
        def notify(line: str) -> None:
            self.notify(line)  # which may be another by then

        self._loaded = ExitStack()
        return self._loaded.enter_context(session_setup.open_context(choice, chosen, notify))

    def names(self) -> Sequence[str]:
        """Return the names of the models on this machine, or of those that the engine serves."""
        if self.engine is not None:
            return self.engine.model_names()
        shipped = [entry.name for entry in catalog.load_registry().values() if entry.local]
        installed = [entry.full_name for entry in catalog.installed_models() if not entry.missing]
        return [*shipped, *installed]

    def switch(self, session: chat.Session, model: str, notify: Callable[[str], None]) -> str:
        """Load ``model`` for ``session``, whose history is kept, and return its name.

        Raises:
            DslocalError: It cannot be loaded. The old model is loaded again.
            EOFError: That cannot be loaded again either.
        """
        old = self.choice
        new = choose_chat_model(model, engine=self.engine)
        settings = _settings_for(new, session, notify)
        thinking = _thinking_for(new.family, old.family, session)
        try:
            session.context = self.load(new)
        except BaseException:
            session.context = self._load_again(old, notify)
            raise
        self.choice = new
        session.family = new.family
        session.settings = settings
        session.thinking = thinking
        session.turn = None
        session.first_kept = 0
        for line in new.family.advice(settings, thinking, session.system):
            notify(line)
        return new.name

    def _load_again(self, old: ModelFile, notify: Callable[[str], None]) -> EngineContext:
        try:
            return self.load(old)
        except DslocalError as e:
            notify(
                f"{e}: {old.name} cannot be loaded again either, so this ends; "
                "dslocal chat --resume continues"
            )
            raise EOFError from None


def _settings_for(
    file: ModelFile, session: chat.Session, notify: Callable[[str], None]
) -> prompts.Settings:
    """Return the settings for a model, with those that were set in the chat.

    Biases that were set there are left out where the model lacks their tokens.

    Raises:
        UsageError: The environment or config.toml has what is not possible with this model.
    """
    settings = session_setup.settings_for(file, file.family.defaults, {})
    for name, setting in session.settings.shown().items():
        if setting.source != SET_COMMAND:
            continue
        changed = settings.with_value(name, setting.value, SET_COMMAND)
        try:
            session_setup.require_possible(file, changed)
        except UsageError as e:
            notify(f"{e}: {name} is as it was before {SET_COMMAND}")
            continue
        settings = changed
    return settings


def _thinking_for(
    family: prompts.Family, old: prompts.Family, session: chat.Session
) -> prompts.Thinking:
    """Return how answers begin: as it was decided in the chat, if the family supports that."""
    thinking = session.thinking
    was_decided = thinking is not None and thinking is not old.default_thinking
    if thinking is not None and was_decided and thinking in family.thinking_modes:
        return thinking
    return family.default_thinking
