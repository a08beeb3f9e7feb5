"""What ``ask`` and ``chat`` share: settings from flag, environment, config.toml and family, and a
session that is ready to talk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dslocal import __version__, home, prompts
from dslocal.api.load_options import FLAG_NAMES, overrides
from dslocal.catalog import resolve
from dslocal.errors import GgufError, UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.parts import read_parts
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.shape import can_draft, shape_of
from dslocal.plan.memory.validate import validate_vocabulary
from dslocal.plan.search import TARGET_CTX, Overrides, Plan
from dslocal.terminal import progress
from dslocal.terminal.progress_line import ProgressLine, can_redraw

from . import supervisor

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext, LlamaModel

Flags = Mapping[str, float | list[str] | None]
Known = Callable[[Path], tuple[GgufHeader, prompts.Family] | None]
LEAST_CTX = 512
GREETED = "greeted"  # what is remembered once that was said

_asked_for: dict[
    Path, str
] = {}  # models that become the one used last when they are loaded, by file
TEMPLATES = "templates"  # the table of config.toml that templates.py reads
CONFIG_KEYS = ("model", "ctx", *prompts.SETTINGS, TEMPLATES)
VARIABLES = (
    "DSLOCAL_HOME",
    "DSLOCAL_DEBUG",
    "DSLOCAL_API_KEY",
    *(f"DSLOCAL_{key.upper()}" for key in CONFIG_KEYS[:-1]),
)


def configured(name: str) -> tuple[Any, str] | None:
    """A value and where it was set: environment before config.toml. Raises UsageError on a file
    that cannot be read.
    """
    variable = f"DSLOCAL_{name.upper()}"
    if value := os.environ.get(variable):
        return value, variable
    content, file = home.read_config(), home.config_file()
    for key in content:
        if key not in CONFIG_KEYS:
            raise UsageError(
                f"{file}: unknown key {key!r:.60}", hint=f"known: {', '.join(CONFIG_KEYS)}"
            )
    return (content[name], str(file)) if name in content else None


def named_model(flag: str | None) -> str | None:
    """The model that was asked for, by flag, environment or config.toml."""
    if flag:
        return flag
    found = configured("model")
    return str(found[0]) if found else None


def settings_for(
    defaults: prompts.Settings, flags: Flags, template: prompts.Template | None = None
) -> prompts.Settings:
    """The family's settings with what the user set above them: by flag, template, environment and
    config.toml, the first that says it.

    ``flags`` are the options by setting, None or [] where not given. Raises UsageError naming where
    a value that is not allowed is from.
    """
    settings = defaults
    for name in prompts.SETTINGS:
        if (flag := flags.get(name)) is not None and flag != []:
            settings = settings.with_value(name, flag, "--" + name.replace("_", "-"))
        elif template and name in template.settings:
            settings = settings.with_value(
                name, template.settings[name], f"template {template.name}"
            )
        elif found := configured(name):
            settings = settings.with_value(name, *found)
    return settings


def check(
    flags: Flags,
    seed: int | None,
    family: str | None,
    template: prompts.Template | None = None,
    *,
    kv: str | None = None,
    n_gpu_layers: int | None = None,
    cpu_moe: str | None = None,
    mtp: str = "off",
) -> None:
    """Raises UsageError for what no model takes, before a model is looked for or converted."""
    settings_for(prompts.FAMILIES["base"].defaults, flags, template)
    overrides(None, kv, n_gpu_layers=n_gpu_layers, cpu_moe=cpu_moe, mtp=mtp, names=FLAG_NAMES)
    new_seed(seed)
    if family is not None:
        prompts.get_family(family)


def pins_for(
    header: GgufHeader,
    ctx: int | None,
    kv: str | None = None,
    n_gpu_layers: int | None = None,
    cpu_moe: str | None = None,
    mtp: str = "off",
) -> Overrides:
    """What of the plan is decided: by option, and the context also by DSLOCAL_CTX and config.toml.
    Raises UsageError.
    """
    trained = header.of_arch("context_length", TARGET_CTX)
    asked = (ctx, "--ctx") if ctx is not None else configured("ctx")
    if asked is not None:
        value, source = asked
        if not str(value).isdecimal() or not LEAST_CTX <= int(value) <= trained:
            raise UsageError(
                f"{source}: {value} is out of range",
                hint=f"this model takes {LEAST_CTX} to {trained}",
            )
        ctx = int(value)
    chosen = overrides(
        ctx, kv, n_gpu_layers=n_gpu_layers, cpu_moe=cpu_moe, mtp=mtp, names=FLAG_NAMES
    )
    if chosen.mtp and not can_draft(header):
        name = header.text("general.name") or "this model"
        raise UsageError(
            f"--mtp on: {name} has no MTP layer to draft with",
            hint="--mtp auto looks up what was said; --mtp FILE.gguf brings one",
        )
    return chosen


def wanted_context(header: GgufHeader, chosen: Overrides) -> int:
    """The context that is asked for, or would be had with memory enough."""
    return chosen.n_ctx or min(header.of_arch("context_length", TARGET_CTX), TARGET_CTX)


def context_source(header: GgufHeader, flag: int | None, planned: Plan) -> str:
    """Where the size of the context comes from."""
    if flag is not None:
        return "--ctx"
    if asked := configured("ctx"):
        return asked[1]
    return (
        "model"
        if planned.load_config.n_ctx == header.of_arch("context_length")
        else "what fits this machine"
    )


def prepare(
    model: str | None,
    family: str | None = None,
    *,
    remember: bool = True,
    known: Known | None = None,
) -> tuple[Path, GgufHeader, prompts.Family]:
    """The GGUF file of ``model``, converted when need be, its header and its family, which
    ``family`` may force.

    ``known`` may know the short values of the header, and the family, without the file being read.
    ``remember`` makes it the one used last, once it is loaded. From here on the command runs in a
    child process: see :mod:`.watched`.
    """
    supervisor.go_on_in_a_child()
    name = named_model(model)
    with progress.show_progress(name or resolve.last_used_model() or resolve.DEFAULT) as shown:
        path = resolve.ensure_gguf(name, on_progress=shown.on_conversion)
    supervisor.about(path.name)
    if model and remember:
        _asked_for[path] = model
    if known and (found := known(path)):
        return path, found[0], prompts.get_family(family) if family else found[1]
    header = read_parts(path)[1]
    recognised = prompts.recognise_family(header, family)
    _refuse_nonsense(header, path)
    return path, header, recognised.family


def greet(model: str | None) -> None:
    """On first use, a word on what is about to answer; on a terminal only, and once."""
    if not sys.stderr.isatty() or home.read_state(GREETED) or home.read_state(resolve.LAST):
        return
    home.write_state(GREETED, {"version": __version__})
    if (named_model(model) or resolve.DEFAULT) == resolve.DEFAULT:
        print(
            "dslocal: first use: nano answers, a small model that ships; it is converted once",
            file=sys.stderr,
        )
    print(
        "dslocal: dslocal fit says what runs here, dslocal pull gets it, dslocal help explains",
        file=sys.stderr,
    )


def _refuse_nonsense(header: GgufHeader, path: Path) -> None:
    """Raises GgufError, with the file's name, for what llama.cpp would abort over."""
    try:
        shape_of(header)
        validate_vocabulary(header)
    except GgufError as e:
        raise GgufError(f"{path.name}: {e}", hint=e.hint) from e


def thinking_for(
    family: prompts.Family, flag: bool | None, template: prompts.Template | None = None
) -> prompts.Setting[prompts.Thinking]:
    """How answers begin: as asked for by flag or template, else as the makers say. Raises
    UsageError where thinking is not known.
    """
    wanted, source = (
        (flag, "--think" if flag else "--no-think")
        if flag is not None or template is None
        else (template.think, "")
    )
    if wanted is None:
        return prompts.Setting(family.default_thinking, "family")
    way = prompts.Thinking.FORCED if wanted else prompts.Thinking.BYPASSED
    if way not in family.thinking_modes:
        raise UsageError(
            f"family {family.name} ({family.title}) knows no thinking",
            hint="without --think and --no-think it answers",
        )
    return prompts.Setting(way, source or f"template {template.name if template else ''}")


@contextmanager
def running(path: Path, header: GgufHeader, chosen: Overrides) -> Iterator[LlamaContext]:
    """A context of the model, loaded as this machine allows; what the user should know goes to
    stderr.
    """
    # Imports llama.cpp, which must not be loaded before prepare() has forked.
    from dslocal.engine import loader

    def say(line: str) -> None:
        print(f"dslocal: {line}", file=sys.stderr)

    with loader.open_context(
        path, header, chosen, lambda planned: load(path, planned.load_config), say
    ) as context:
        loaded(path)
        yield context


def loaded(path: Path) -> None:
    """The model at ``path`` works: it becomes the one used last, if it was asked for."""
    if model := _asked_for.pop(path, None):
        resolve.remember_last_used(model)


def load(
    path: Path, load_config: LoadConfig | None = None, *, vocab_only: bool = False
) -> LlamaModel:
    """The model at ``path``, with a line on a terminal's stderr while a large one loads."""
    from dslocal.engine import LlamaModel

    with _share_loaded(path.name) as report:
        return LlamaModel(path, load_config, vocab_only=vocab_only, on_progress=report)


@contextmanager
def _share_loaded(name: str) -> Iterator[Callable[[float], None] | None]:
    if not can_redraw():
        yield None
        return
    meter = ProgressLine()
    try:
        yield lambda share: meter.show(f"loading {name[:50]} {share:.0%}", share)
    finally:
        meter.clear()


def new_seed(flag: int | None) -> int:
    """The seed that was given, or a fresh one that can be given again. Raises UsageError."""
    if flag is None:
        return int.from_bytes(os.urandom(4), "little")
    if not 0 <= flag < 1 << 63:
        raise UsageError(f"--seed: {flag} is out of range", hint="0 or more")
    return flag


def advise(
    family: prompts.Family,
    settings: prompts.Settings,
    thinking: prompts.Thinking,
    system: str,
    also: str | None = None,
) -> None:
    """Says on stderr which recommendation of the model's makers a setting breaks. It is obeyed all
    the same.
    """
    for line in [*family.advice(settings, thinking, system), *([also] if also else [])]:
        print(f"dslocal: {line}", file=sys.stderr)
    if family.is_base:
        print(f"dslocal: {family.title}: the text is gone on with, not answered", file=sys.stderr)
