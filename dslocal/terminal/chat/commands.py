"""The chat's slash commands: a table of name, help and function, and what may be typed after
each.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from dslocal import chat, prompts
from dslocal.errors import UsageError
from dslocal.terminal.sanitise import one_line

from . import session_commands, toolbar, turn_commands
from .completion import Suggestions
from .keys import ANSWER_NOW_KEY_NAME

if TYPE_CHECKING:
    from .loop import ChatLoop


MATH = {"auto": None, "on": True, "off": False}
EXAMPLES = {
    "temperature": ("0", "0.6", "1"),
    "top_p": ("0.95", "1"),
    "max_tokens": ("1024", "8192"),
    "think_budget": ("500", "2000"),
}


@dataclass(frozen=True)
class Command:
    """``usage`` shows the argument; ``run`` is given the loop and what follows the name."""

    usage: str
    help: str
    run: Callable[[ChatLoop, str], None]


def help_(loop: ChatLoop, _: str) -> None:
    for command in COMMANDS.values():
        loop.notify(f"{command.usage:<24} {command.help}")
    loop.notify(
        "Alt-Enter begins a new line, Ctrl-R searches what was typed, Ctrl-X Ctrl-E opens an editor, // begins a question with a slash"
    )
    loop.notify(f"Ctrl-C stops an answer, {ANSWER_NOW_KEY_NAME} ends its thinking, Ctrl-D leaves")


def model(loop: ChatLoop, name: str) -> None:
    if loop.model_switcher is None or not name:
        here = ", ".join(loop.model_switcher.names()) if loop.model_switcher else loop.model
        loop.notify(f"{loop.model_title()}; here: {one_line(here)}")
        return
    loop.editing = None
    loop.set_model_name(loop.model_switcher.switch(loop.session, name, loop.notify))
    loop.model = loop.conversation.model = name
    loop.notify(f"now {loop.model_title()}")


def clear(loop: ChatLoop, _: str) -> None:
    before = loop.conversation.id if loop.conversation.history else ""
    loop.start_conversation()
    loop.notify("history cleared" + (f"; /resume {before} brings it back" if before else ""))


def system(loop: ChatLoop, text: str) -> None:
    before = _advice(loop)
    loop.session.system = text
    loop.notify("instructions set" if text else "no instructions")
    _advise(loop, before)


def file(loop: ChatLoop, text: str) -> None:
    if text == "none" and loop.files:
        loop.files.clear()
        loop.notify("no file goes with the next question")
        return
    try:
        paths = [Path(part).expanduser() for part in shlex.split(text)]
    except (ValueError, RuntimeError) as e:  # an open quote, the home of nobody
        raise UsageError(f"/file: {e}") from None
    if not paths and not loop.files:
        raise UsageError("/file: which file?")
    for path in paths:
        prompts.read_text(path)  # or the error would come with the next question
    loop.files += paths
    goes = "goes" if len(loop.files) == 1 else "go"
    loop.notify(
        f"{', '.join(path.name for path in loop.files)} {goes} with the next question (/file none takes back)"
    )


def think(loop: ChatLoop, text: str) -> None:
    choices = {"on": prompts.Thinking.FORCED, "off": prompts.Thinking.BYPASSED}
    session = loop.session
    if text in choices:
        if choices[text] not in session.family.thinking_modes:
            raise UsageError(f"/think {text}: {session.family.title} knows no thinking")
        before = _advice(loop)
        session.thinking = choices[text]
        loop.notify(f"thinking {text}")
        _advise(loop, before)
    elif text:
        raise UsageError(f"/think {text:.40}: on, off, or nothing to see the last thought")
    else:
        last = next(
            (message for message in reversed(session.history) if message.role == "assistant"), None
        )
        loop.notify(last.reasoning if last and last.reasoning else "no thought to show")


def set_(loop: ChatLoop, text: str) -> None:
    name, _, value = text.partition(" ")
    name, value = name.replace("-", "_"), value.strip()
    if not value:
        if name and name not in (*prompts.SETTINGS, "math"):
            loop.session.settings.with_value(name, "", "/set")  # which says what there is
        s = loop.session.settings
        math = next(word for word, meant in MATH.items() if meant is loop.math)
        extras = "".join(
            f", {name} {prompts.format_value(value)}" for name, value in s.extras().items()
        )
        loop.notify(
            f"temperature {s.temperature.value:g}, top_p {s.top_p.value:g}, max_tokens {s.max_tokens.value}, math {math}{extras}"
        )
    elif name == "math":
        if value not in MATH:
            raise UsageError(f"/set math {value:.40}: {', '.join(MATH)}")
        loop.math = MATH[value]
        loop.notify(f"math {value}")
    else:
        before = _advice(loop)
        loop.session.settings = loop.session.settings.with_value(name, value, "/set")
        loop.notify(f"{name} {value}")
        _advise(loop, before)


def stats(loop: ChatLoop, _: str) -> None:
    turn, context = loop.session.turn, loop.session.context
    if turn is None or turn.timings is None:
        loop.notify("nothing has been asked yet")
        return
    loop.notify(
        f"prompt {turn.prompt_tokens:,} tokens ({turn.cached_tokens:,} cached), answer {turn.completion_tokens:,} "
        f"({turn.reasoning_tokens:,} of reasoning), {turn.tokens_per_s:,.0f} tokens/s, "
        f"first after {turn.timings.ttft:.2f} s, seed {turn.seed}"
    )
    drafts = (
        f"drafts {turn.accepted_tokens:,} accepted of {turn.drafted_tokens:,}, "
        if turn.drafted_tokens
        else ""
    )
    memory = (
        f", {toolbar.resident_bytes() / (1 << 20):,.0f} MiB of memory"
        if toolbar.resident_bytes()
        else ""
    )
    loop.notify(
        f"{drafts}context {len(context.ids):,} of {context.n_ctx:,} tokens, KV cache {context.kv_type.lower()}{memory}"
    )


def leave(_: ChatLoop, __: str) -> None:
    raise EOFError


COMMANDS = {
    "help": Command("/help", "this list", help_),
    "model": Command("/model [NAME]", "go on with another model, history kept", model),
    "system": Command("/system [TEXT]", "instructions for the whole conversation", system),
    "file": Command("/file PATH …", "attach text files to the next question", file),
    "clear": Command("/clear", "begin a new conversation", clear),
    "retry": Command(
        "/retry", "ask the last question again, with another seed", turn_commands.retry
    ),
    "edit": Command("/edit", "change the last question and ask that", turn_commands.edit),
    "undo": Command("/undo", "take back the last question and its answer", turn_commands.undo),
    "continue": Command("/continue", "go on with an answer that was cut", turn_commands.go_on),
    "copy": Command(
        "/copy [code|thought]", "the last answer into the clipboard", turn_commands.copy
    ),
    "save": Command(
        "/save FILE.md",
        "write the conversation as Markdown; FILE.md! replaces",
        session_commands.save,
    ),
    "sessions": Command(
        "/sessions [TEXT]",
        "earlier conversations, or those with TEXT in them",
        session_commands.sessions,
    ),
    "resume": Command("/resume ID", "go on with an earlier conversation", session_commands.resume),
    "think": Command("/think [on|off]", "show the last thought, or switch thinking", think),
    "set": Command(
        "/set [NAME VALUE]",
        "temperature, top_p, max_tokens, top_k, min_p, stop, …; math (on, off, auto)",
        set_,
    ),
    "stats": Command("/stats", "tokens, speed and memory of the last answer", stats),
    "exit": Command("/exit", "leave", leave),
}


def run(loop: ChatLoop, line: str) -> None:
    """Runs a line that begins with a slash. Raises UsageError, or EOFError to leave."""
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        near = [f"/{known}" for known in COMMANDS if name and known.startswith(name)]
        if len(near) != 1:
            raise UsageError(
                f"/{name:.40}: no such command",
                hint=f"perhaps {' or '.join(near)}" if near else "/help lists them",
            )
        command = COMMANDS[near[0][1:]]
    command.run(loop, rest.strip())


def suggestions_for(loop: ChatLoop, name: str, typed: str) -> Suggestions | None:
    """What may follow the command ``name``, of which ``typed`` is there; None for paths."""
    first = " " not in typed
    match name:
        case "file" | "save":
            return None
        case "model" if loop.model_switcher and first:
            return [(name, "") for name in loop.model_switcher.names()]
        case "think" if first:
            return [("on", ""), ("off", "")]
        case "copy" if first:
            return [(word, said) for word, said in turn_commands.COPIED.items() if word]
        case "set" if first:
            settings = loop.session.settings
            return [
                *(
                    (one, prompts.format_value(getattr(settings, one).value))
                    for one in prompts.SETTINGS
                ),
                ("math", "on, off, auto"),
            ]
        case "set":
            setting = typed.partition(" ")[0]
            return [
                (value, "")
                for value in (
                    MATH if setting == "math" else EXAMPLES.get(setting.replace("-", "_"), ())
                )
            ]
        case "resume" if first:
            return [
                (saved.id, f"{_day(saved)} {saved.questions[0]}")
                for saved in chat.list_conversations()
                if saved.questions
            ]
    return []


def _advice(loop: ChatLoop) -> list[str]:
    session = loop.session
    return session.family.advice(session.settings, session.thinking, session.system)


def _advise(loop: ChatLoop, before: list[str]) -> None:
    """Says which recommendation is broken now that was not ``before``."""
    for line in _advice(loop):
        if line not in before:
            loop.notify(line)


def dim(text: str) -> Text:
    """``text`` as the chat's own voice, apart from the model's."""
    return Text(text, style="dim")


def _day(saved: chat.StoredConversation) -> str:
    return time.strftime("%d %b", time.localtime(saved.last))
