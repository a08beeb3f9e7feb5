"""Slash commands that change how the next answers are generated: model, instructions, files,
settings.

A setting that goes against the vendor's advice is set all the same; the advice is shown.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import prompts
from dslocal.errors import UsageError
from dslocal.files import is_file
from dslocal.terminal.sanitise import one_line, sanitise

from .session_commands import typed_paths

if TYPE_CHECKING:
    from dslocal.terminal.chat.active_chat import ActiveChat
    from dslocal.terminal.chat.completion import Suggestions

MAX_NAME = 60  # characters of a file's name
# What Ollama's /set has besides, and the command that does it here.
COMMANDS_ELSEWHERE = {
    "system": "/system TEXT",
    "parameter": "/set NAME VALUE",
    "think": "/think on",
    "nothink": "/think off",
    "model": "/model NAME",
}
MATH_CHOICES = {"auto": None, "on": True, "off": False}
THINKING_CHOICES = {"on": prompts.Thinking.FORCED, "off": prompts.Thinking.BYPASSED}
SETTABLE = (*sorted(prompts.SETTINGS), "math")
EXAMPLE_VALUES = {
    "temperature": ("0", "0.6", "1"),
    "top_p": ("0.95", "1"),
    "max_tokens": ("1024", "8192"),
    "think_budget": ("500", "2000"),
}


def switch_model(active: ActiveChat, name: str) -> None:
    """/model: load another model for this conversation, or list those that are here."""
    if active.model_switcher is None or not name:
        here = ", ".join(active.model_switcher.names()) if active.model_switcher else active.model
        active.notify(f"{active.model_title()}; here: {one_line(here)}; dslocal pull gets others")
        return
    active.editing = None
    active.set_model_name(active.model_switcher.switch(active.session, name, active.notify))
    active.model = name
    active.conversation.model = name
    active.notify(f"now {active.model_title()}")


def suggest_models(active: ActiveChat, typed: str) -> Suggestions:
    """Return the models that are here."""
    if active.model_switcher is None or " " in typed:
        return []
    return [(name, "") for name in active.model_switcher.names()]


def set_system(active: ActiveChat, text: str) -> None:
    """/system: set the instructions for the whole conversation, or show them; ``none`` removes
    them.
    """
    present = active.session.system
    if not text:
        active.notify(sanitise(present) if present else "no instructions (/system TEXT gives some)")
        if present:
            active.notify("/system none removes these instructions")
        return
    before = _advice(active)
    active.session.system = "" if text == "none" else text
    active.notify("instructions set" if active.session.system else "no instructions")
    _show_new_advice(active, before)


def attach_files(active: ActiveChat, text: str) -> None:
    """/file: attach files to the next question; ``none`` takes them back."""
    if text == "none" and not is_file(Path(text)):
        active.files.clear()
        active.notify("no file is attached to the next question")
        return
    paths = typed_paths(text, "/file")
    if not paths and not active.files:
        raise UsageError("/file: which file?")
    active.files += [prompts.read_file(path) for path in paths]
    names = ", ".join(one_line(file.name, MAX_NAME) for file in active.files)
    goes = "goes" if len(active.files) == 1 else "go"
    active.notify(f"{names} {goes} with the next question (/file none takes back)")


def set_thinking(active: ActiveChat, text: str) -> None:
    """/think: switch reasoning on or off, or show that of the last answer."""
    if not text:
        last = active.last_answer()
        active.notify(last.reasoning if last and last.reasoning else "no reasoning to show")
        return
    if text not in THINKING_CHOICES:
        raise UsageError(f"/think {text:.40}: on, off, or nothing to see the last reasoning")
    session, thinking = active.session, THINKING_CHOICES[text]
    if thinking not in session.family.thinking_modes:
        raise UsageError(f"/think {text}: {session.family.title} has no reasoning")
    before = _advice(active)
    session.thinking = thinking
    active.notify(f"thinking {text}")
    _show_new_advice(active, before)


def suggest_thinking(active: ActiveChat, typed: str) -> Suggestions:
    """Return the arguments of /think."""
    return [] if " " in typed else [(choice, "") for choice in THINKING_CHOICES]


def set_effort(active: ActiveChat, text: str) -> None:
    """/effort: say how thoroughly the model reasons, or show it."""
    session = active.session
    efforts = session.family.efforts
    if not efforts:
        raise UsageError(f"/effort: {session.family.title} has no levels of effort")
    if not text:
        active.notify(f"effort {session.family.default_effort}, of {', '.join(efforts)}")
        return
    if text == "none":
        session.thinking = prompts.Thinking.BYPASSED
        active.notify("thinking off")
        return
    session.family = session.family.with_effort(text)
    session.thinking = prompts.Thinking.FORCED
    active.notify(f"effort {session.family.default_effort}")


def suggest_efforts(active: ActiveChat, typed: str) -> Suggestions:
    """Return the efforts of the model's family."""
    return [] if " " in typed else [(name, "") for name in ("none", *active.session.family.efforts)]


def change_setting(active: ActiveChat, text: str) -> None:
    """/set: change a setting of sampling or the directive for mathematics, or show all."""
    typed_name = text.partition(" ")[0]
    name, value = typed_name.replace("-", "_"), text[len(typed_name) :].strip()
    if name and name not in SETTABLE:
        if name in COMMANDS_ELSEWHERE:
            raise UsageError(f"/set: {typed_name} is set by {COMMANDS_ELSEWHERE[name]}")
        near = get_close_matches(name, SETTABLE, 1)
        perhaps = f"perhaps {near[0]}; " if near else ""
        raise UsageError(
            f"/set: unknown setting {one_line(typed_name, MAX_NAME)!r}",
            hint=f"{perhaps}known: {', '.join(SETTABLE)}",
        )
    if not value:
        active.notify(_settings_line(active))
    elif name == "math":
        if value not in MATH_CHOICES:
            raise UsageError(f"/set math {value:.40}: {', '.join(MATH_CHOICES)}")
        active.math = MATH_CHOICES[value]
        active.notify(f"math {value}")
    else:
        before = _advice(active)
        active.session.change_settings({name: value}, "/set")
        active.notify(f"{name} {value}")
        _show_new_advice(active, before)


def suggest_settings(active: ActiveChat, typed: str) -> Suggestions:
    """Return the names of settings with their values, and after a name values to choose from."""
    if " " not in typed:
        settings = active.session.settings
        values = {name: getattr(settings, name).value for name in prompts.SETTINGS}
        named = [(name, prompts.format_value(value)) for name, value in values.items()]
        return [*named, ("math", "on, off, auto")]
    name = typed.partition(" ")[0]
    if name == "math":
        return [(choice, "") for choice in MATH_CHOICES]
    return [(value, "") for value in EXAMPLE_VALUES.get(name.replace("-", "_"), ())]


def _settings_line(active: ActiveChat) -> str:
    settings = active.session.settings
    math = next(word for word, value in MATH_CHOICES.items() if value is active.math)
    parts = [
        f"temperature {settings.temperature.value:g}",
        f"top_p {settings.top_p.value:g}",
        _answer_limit(active),
        f"math {math}",
    ]
    parts += [f"{name} {prompts.format_value(value)}" for name, value in settings.extras().items()]
    return ", ".join(parts)


def _answer_limit(active: ActiveChat) -> str:
    """Return the most tokens of an answer, and whether the context holds fewer."""
    limit, n_ctx = active.session.settings.max_tokens.value, active.session.context.n_ctx
    lower = f" (the context ends an answer before: {n_ctx:,})" if limit > n_ctx else ""
    return f"max_tokens {limit}{lower}"


def _advice(active: ActiveChat) -> list[str]:
    """Return the vendor's recommendations that the settings go against."""
    session = active.session
    return session.family.advice(session.settings, session.thinking, session.system)


def _show_new_advice(active: ActiveChat, before: list[str]) -> None:
    """Show the recommendations that are not among those of ``before``."""
    for line in _advice(active):
        if line not in before:
            active.notify(line)
