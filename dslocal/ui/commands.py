"""The chat's slash commands: a table of name, help and function."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from .. import chat
from ..errors import UsageError

if TYPE_CHECKING:
    from .chat import ChatLoop


MATH = {"auto": None, "on": True, "off": False}


@dataclass(frozen=True)
class Command:
    """``usage`` shows the argument; ``run`` is given the loop and what follows the name."""

    usage: str
    help: str
    run: Callable[[ChatLoop, str], None]


def help_(loop: ChatLoop, _: str) -> None:
    for command in COMMANDS.values():
        loop.say(f"{command.usage:<24} {command.help}")
    loop.say("Alt-Enter begins a new line, Ctrl-C ends an answer, Ctrl-D leaves, // begins a question with a slash")


def clear(loop: ChatLoop, _: str) -> None:
    loop.session.history.clear()
    loop.say("history cleared")


def system(loop: ChatLoop, text: str) -> None:
    loop.session.system = text
    loop.say("instructions set" if text else "no instructions")


def file(loop: ChatLoop, text: str) -> None:
    try:
        paths = [Path(part).expanduser() for part in shlex.split(text)]
    except (ValueError, RuntimeError) as e:  # an open quote, the home of nobody
        raise UsageError(f"/file: {e}") from None
    if not paths:
        raise UsageError("/file: which file?")
    for path in paths:
        chat.read_text(path)  # or the error would come with the next question
    loop.files += paths
    loop.say(f"{', '.join(path.name for path in paths)} goes with the next question")


def retry(loop: ChatLoop, _: str) -> None:
    last = loop.last_sent
    if last is None:
        raise UsageError("/retry: nothing has been asked yet")
    history = loop.session.history
    if history and history[-2].content == last:
        del history[-2:]
    loop.send(last)


def think(loop: ChatLoop, text: str) -> None:
    choices = {"on": chat.Thinking.FORCED, "off": chat.Thinking.BYPASSED}
    if text in choices:
        if choices[text] not in loop.session.family.ways:
            raise UsageError(f"/think {text}: {loop.session.family.title} knows no thinking")
        loop.session.thinking = choices[text]
        loop.say(f"thinking {text}")
    elif text:
        raise UsageError(f"/think {text}: on, off, or nothing to see the last thought")
    else:
        turn = loop.session.turn
        loop.say(turn.reasoning if turn and turn.reasoning else "no thought to show")


def set_(loop: ChatLoop, text: str) -> None:
    name, _, value = text.partition(" ")
    name, value = name.replace("-", "_"), value.strip()
    if not value:
        s = loop.session.settings
        math = next(word for word, meant in MATH.items() if meant is loop.math)
        extras = "".join(f", {name} {chat.spelled(value)}" for name, value in s.extras().items())
        loop.say(f"temperature {s.temperature.value:g}, top_p {s.top_p.value:g}, max_tokens {s.max_tokens.value}, math {math}{extras}")
    elif name == "math":
        if value not in MATH:
            raise UsageError(f"/set math {value}: {', '.join(MATH)}")
        loop.math = MATH[value]
        loop.say(f"math {value}")
    else:
        loop.session.settings = loop.session.settings.with_value(name, value, "/set")
        for line in [f"{name} {value}", *loop.session.family.advice(loop.session.settings)]:
            loop.say(line)


def stats(loop: ChatLoop, _: str) -> None:
    turn = loop.session.turn
    if turn is None or turn.timings is None:
        loop.say("nothing has been asked yet")
        return
    loop.say(
        f"prompt {turn.prompt_tokens:,} tokens ({turn.cached_tokens:,} cached), answer {turn.completion_tokens:,} "
        f"({turn.reasoning_tokens:,} of reasoning), {turn.tokens_per_s:,.0f} tokens/s, "
        f"first after {turn.timings.ttft:.2f} s, seed {turn.seed}"
    )


def leave(_: ChatLoop, __: str) -> None:
    raise EOFError


COMMANDS = {
    "help": Command("/help", "this list", help_),
    "clear": Command("/clear", "forget the conversation", clear),
    "system": Command("/system [TEXT]", "instructions for the whole conversation", system),
    "file": Command("/file PATH …", "attach text files to the next question", file),
    "retry": Command("/retry", "ask the last question again", retry),
    "think": Command("/think [on|off]", "show the last thought, or switch thinking", think),
    "set": Command("/set [NAME VALUE]", "temperature, top_p, max_tokens, top_k, min_p, stop, …; math (on, off, auto)", set_),
    "stats": Command("/stats", "tokens and speed of the last answer", stats),
    "exit": Command("/exit", "leave", leave),
}


def run(loop: ChatLoop, line: str) -> None:
    """Runs a line that begins with a slash. Raises UsageError, or EOFError to leave."""
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"/{name}: no such command", hint="/help lists them")
    command.run(loop, rest.strip())


def dim(text: str) -> Text:
    """``text`` as the chat's own voice, apart from the model's."""
    return Text(text, style="dim")
