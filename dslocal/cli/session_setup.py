"""Load the model that a name means, and show the user the progress and notices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import __version__, home, prompts
from dslocal.api.file_faults import new_faults
from dslocal.api.model_file import read_family
from dslocal.catalog import conversion_cache, resolve
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.overrides import Overrides
from dslocal.terminal import progress
from dslocal.terminal.progress_line import ProgressLine, can_redraw
from dslocal.terminal.sanitise import one_line

from . import supervisor
from .default_model import make_default
from .option_groups import EngineOptions, Flags
from .user_settings import named_model, sampling_settings, unknown_variables

if TYPE_CHECKING:
    from dslocal.engine import EngineContext, LlamaModel
    from dslocal.engine.remote import ServedEngine

    from .engine_choice import EngineChoice

GREETED = "greeted"  # the state file that is written with the greeting
MAX_SHOWN_NAME = 50
MAX_SHOWN_LINE = 400


@dataclass(frozen=True)
class ModelFile:
    """A model's GGUF file, its header, and how it is prompted.

    Attributes:
        path: The file; of a model that an engine serves, one with its vocabulary alone.
        header: Its header.
        family: How it is prompted.
        engine: The engine that serves it; None for a model that is loaded here.
    """

    path: Path
    header: GgufHeader
    family: prompts.Family
    engine: ServedEngine | None = None

    @property
    def name(self) -> str:
        """Return what it is called here: several files may have one name in their headers."""
        if self.engine is not None:
            return self.engine.title
        return conversion_cache.display_name(self.path)


KnownFile = Callable[[Path], ModelFile | None]

# Models that become the default when they have been loaded, by file.
_to_remember: dict[Path, str] = {}


def prepare_model(
    model: str | None,
    family: str | None = None,
    *,
    remember: bool = True,
    known: KnownFile | None = None,
) -> ModelFile:
    """Find a model's file, convert it when need be, and recognise its family.

    From here on the command runs in a child process: see :func:`continue_in_child`.

    Args:
        model: The option that names the model.
        family: The family to use instead of the recognised one.
        remember: Whether the model becomes the one used last, once it is loaded.
        known: May know a file, as far as it matters, without reading it.

    Raises:
        NotFoundError: The model does not exist.
        DslocalError: The file is damaged, or of no known family.
    """
    continue_in_child()
    _name_unknown_variables()
    name = named_model(model)
    if name is None:
        say_if_gone()
    with progress.show_progress(name or resolve.last_used_model() or resolve.DEFAULT) as shown:
        path = conversion_cache.ensure_gguf(
            name,
            on_progress=shown.on_conversion,
            on_notice=lambda line: shown.log(f"dslocal: {line}"),
        )
    supervisor.set_subject(path.name)
    if model and remember:
        _to_remember[path] = model
    found = known(path) if known else None
    if found is None:
        header, recognised = read_family(path, family)
        for fault in new_faults(path, header, None if family else recognised):
            print(f"dslocal: {one_line(path.name)}: {one_line(fault)}", file=sys.stderr)
        return ModelFile(path, header, recognised)
    return ModelFile(path, found.header, prompts.get_family(family) if family else found.family)


def _name_unknown_variables() -> None:
    for variable, meant in unknown_variables().items():
        near = f"did you mean {meant}?" if meant else "it has no effect"
        print(f"dslocal: {one_line(variable)}: unknown variable ({near})", file=sys.stderr)


def prepare_served_model(
    choice: EngineChoice,
    model: str | None,
    family: str | None = None,
    *,
    is_said: bool = False,
) -> ModelFile:
    """Ask an engine what it serves, find its vocabulary here, and recognise its family.

    Args:
        choice: The engine.
        model: What it calls the model; None for the only one.
        family: The family to use instead of the recognised one.
        is_said: Whether another message tells the user where text is sent.

    Raises:
        NotFoundError: The engine has no such model, or its vocabulary is not here.
        DslocalError: The engine cannot be reached, or its model is of no known family.
    """
    continue_in_child()
    _name_unknown_variables()
    if not is_said:
        choice.say_destination()
    found = choice.find(model, family)
    supervisor.set_subject(found.path.name)
    if found.engine.takes_messages and not is_said:
        print_line(f"text goes to {found.engine.address.url}, DeepSeek's own servers, as messages")
    return ModelFile(found.path, found.header, found.family, found.engine)


def prepare_chosen_model(
    options: EngineOptions, model: str | None, family: str | None = None
) -> ModelFile:
    """Return the model of the engine that was chosen, else a model of this machine."""
    from .engine_choice import chosen_engine

    engine = chosen_engine(options)
    if engine is not None:
        return prepare_served_model(engine, model, family)
    return prepare_model(model, family)


def continue_in_child() -> None:
    """Run the command in a child process from here on: see :mod:`.supervisor`.

    Where it crashes, the model used last is the one that it was before.
    """
    before = home.read_state(resolve.LAST).get("model")
    supervisor.continue_in_child(on_crash=lambda: resolve.restore_last_used(before))


def say_if_gone() -> None:
    """Say on stderr that the model used last is gone, and which one takes its place."""
    gone = resolve.gone_last_model()
    if gone is not None:
        print(
            f"dslocal: the model used last, {one_line(gone)}, no longer exists: "
            f"{resolve.DEFAULT} is used (-m NAME chooses another)",
            file=sys.stderr,
        )


def greet(model: str | None) -> None:
    """Say on first use what is about to answer; on a terminal only."""
    if not sys.stderr.isatty() or home.read_state(GREETED) or home.read_state(resolve.LAST):
        return
    note_greeting()
    if (named_model(model) or resolve.DEFAULT) == resolve.DEFAULT:
        print(
            "dslocal: first use: nano, a small model that ships with dslocal, answers",
            file=sys.stderr,
        )
    print(
        "dslocal: dslocal fit shows which models run here, dslocal pull downloads one, dslocal "
        "help explains",
        file=sys.stderr,
    )


def note_greeting() -> None:
    """Note that the user was told what answers, so that no later command says it again."""
    if not home.read_state(GREETED):
        home.write_state(GREETED, {"version": __version__})


def print_line(line: str) -> None:
    """Print a line that the user should know on stderr."""
    print(f"dslocal: {one_line(line, MAX_SHOWN_LINE)}", file=sys.stderr)


@contextmanager
def open_context(
    file: ModelFile, chosen: Overrides, notify: Callable[[str], None] = print_line
) -> Iterator[EngineContext]:
    """Load a model as this machine allows, or connect to the engine that serves it.

    Args:
        file: The model.
        chosen: What the user decided about loading it.
        notify: Receives what the user should know.

    Raises:
        DoesNotFitError: It does not fit into this machine.
        DslocalError: llama.cpp refuses it, or the engine does.
    """
    # Imports llama.cpp, which must not be loaded before prepare_model() has forked.
    from dslocal.engine import loader

    if file.engine is not None:
        from dslocal.api.engines.engine_model import EngineModel, open_remote_context

        found = EngineModel(file.engine, file.path, file.header, file.family)
        with open_remote_context(found, chosen.n_ctx, notify) as remote:
            yield remote
        return
    with loader.open_context(
        file.path,
        file.header,
        chosen,
        lambda planned: load_model(file.path, planned.load_config, header=file.header),
        notify,
    ) as context:
        remember_loaded(file.path, notify)
        context.model.on_first_evaluation(supervisor.confirm_work)
        yield context


def remember_loaded(path: Path, notify: Callable[[str], None] = print_line) -> None:
    """Make the model of a file the default, if it was named and is now known to work."""
    if model := _to_remember.pop(path, None):
        make_default(model, notify)


def load_model(
    path: Path,
    load_config: LoadConfig | None = None,
    *,
    header: GgufHeader | None = None,
    vocab_only: bool = False,
) -> LlamaModel:
    """Load the model at ``path``, with a line on a terminal's stderr while a large one loads.

    Arguments and errors are those of :class:`.LlamaModel`.
    """
    from dslocal.engine import LlamaModel

    with _loading_progress(path.name) as report:
        return LlamaModel(
            path, load_config, header=header, vocab_only=vocab_only, on_progress=report
        )


def settings_for(
    file: ModelFile,
    defaults: prompts.Settings,
    flags: Flags,
    template: prompts.Template | None = None,
) -> prompts.Settings:
    """Return the settings of sampling that are in effect for a model.

    Args:
        file: The model.
        defaults: Its family's settings for this use.
        flags: The options by setting, None or an empty list where not given.
        template: The template in use.

    Raises:
        UsageError: A value is not allowed, or not possible with this model; the message says where
            it comes from.
    """
    settings = sampling_settings(defaults, flags, template)
    require_possible(file, settings)
    return settings


def require_possible(file: ModelFile, settings: prompts.Settings) -> None:
    """Refuse settings with which every answer of a model would fail, before it is loaded.

    Raises:
        UsageError: A bias is for what is not a token of the model.
    """
    if not settings.logit_bias.value or (file.engine and file.engine.takes_messages):
        return
    from dslocal import output

    with load_model(file.path, vocab_only=True) as vocabulary:
        output.resolve_logit_bias(settings.logit_bias, vocabulary)


@contextmanager
def _loading_progress(name: str) -> Iterator[Callable[[float], None] | None]:
    if not can_redraw():
        yield None
        return
    line = ProgressLine()
    try:
        yield lambda share: line.show(f"loading {name[:MAX_SHOWN_NAME]} {share:.0%}", share)
    finally:
        line.clear()


def print_advice(
    family: prompts.Family,
    settings: prompts.Settings,
    thinking: prompts.Thinking,
    system: str,
    more: str | None = None,
) -> None:
    """Print on stderr which recommendations of the vendor the settings break.

    The settings are obeyed all the same. ``more`` is another line of advice.
    """
    lines = family.advice(settings, thinking, system)
    for line in [*lines, more] if more else lines:
        print(f"dslocal: {line}", file=sys.stderr)
    if family.is_base:
        print(
            f"dslocal: {family.title}: it continues the text and does not answer", file=sys.stderr
        )
