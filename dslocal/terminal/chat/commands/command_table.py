"""The chat's slash commands: a table of usage, help and function, and how a line is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from dslocal.errors import UsageError
from dslocal.terminal.chat import toolbar
from dslocal.terminal.chat.keys import ANSWER_NOW_KEY_NAME
from dslocal.terminal.reports.speed_text import streaming_lines

from . import session_commands, setting_commands, turn_commands

if TYPE_CHECKING:
    from dslocal.terminal.chat.active_chat import ActiveChat
    from dslocal.terminal.chat.completion import Suggestions


def _no_suggestions(active: ActiveChat, typed: str) -> Suggestions:
    return []


def _paths(active: ActiveChat, typed: str) -> None:
    """Say that paths are what may follow."""


@dataclass(frozen=True)
class Command:
    """A slash command.

    Attributes:
        usage: The command with its argument.
        help: What it does.
        run: Runs it, given what follows the name.
        suggest: Returns what may follow the name, given what is typed of it; None for paths.
    """

    usage: str
    help: str
    run: Callable[[ActiveChat, str], None]
    suggest: Callable[[ActiveChat, str], Suggestions | None] = _no_suggestions

    @property
    def takes_argument(self) -> bool:
        """Whether something may follow its name."""
        return " " in self.usage


def show_help(active: ActiveChat, _: str) -> None:
    """/help: list the commands and the keys, page by page where the screen is small."""
    lines = [f"{command.usage:<{USAGE_WIDTH}} {command.help}" for command in COMMANDS.values()]
    lines += [
        "Alt-Enter: new line, Ctrl-R: search, Ctrl-X Ctrl-E: editor, // for a first /",
        f"Ctrl-C: stop, {ANSWER_NOW_KEY_NAME}: end the reasoning, Ctrl-Z: suspend, Ctrl-D: leave",
    ]
    active.show_page(lines)


def show_stats(active: ActiveChat, _: str) -> None:
    """/stats: show tokens, speed and memory of the last answer."""
    turn, context = active.session.turn, active.session.context
    if turn is None or turn.timings is None:
        active.notify("nothing has been asked yet")
        return
    active.notify(
        f"prompt {turn.prompt_tokens:,} tokens ({turn.cached_tokens:,} cached),"
        f" answer {turn.completion_tokens:,} ({turn.reasoning_tokens:,} of reasoning),"
        f" {turn.tokens_per_s:,.0f} tokens/s, first after {turn.timings.ttft:.2f} s,"
        f" seed {turn.seed}"
    )
    parts = [
        f"context {len(context.ids):,} of {context.n_ctx:,} tokens",
        context.title,
    ]
    if turn.drafted_tokens:
        drafts = f"drafts {turn.accepted_tokens:,} accepted of {turn.drafted_tokens:,}"
        parts.insert(0, drafts)
    if memory := toolbar.resident_bytes():
        parts.append(f"{memory / (1 << 20):,.0f} MiB of memory")
    active.notify(", ".join(parts))
    if use := turn.timings.streaming:
        for line in streaming_lines(use):
            active.notify(line)


def leave(active: ActiveChat, _: str) -> None:
    """/exit: leave the chat."""
    raise EOFError


MAX_NEAR = 2  # commands that are named for one that is misspelled
USAGE_WIDTH = 22  # characters of a command with its argument, in the list
COMMANDS = {
    "help": Command("/help", "this list", show_help),
    "model": Command(
        "/model [NAME]",
        "continue with another model, history kept",
        setting_commands.switch_model,
        setting_commands.suggest_models,
    ),
    "system": Command(
        "/system [TEXT]", "instructions for the whole conversation", setting_commands.set_system
    ),
    "file": Command(
        "/file PATH …",
        "attach text files to the next question",
        setting_commands.attach_files,
        _paths,
    ),
    "clear": Command("/clear", "start a new conversation", session_commands.clear),
    "retry": Command(
        "/retry", "ask the last question again, with another seed", turn_commands.retry
    ),
    "edit": Command("/edit", "edit the last question and ask it again", turn_commands.edit),
    "undo": Command("/undo", "take back the last question and its answer", turn_commands.undo),
    "continue": Command(
        "/continue", "continue an answer that was cut", turn_commands.continue_answer
    ),
    "copy": Command(
        f"/copy [{'|'.join(turn_commands.COPY_CHOICES)}]",
        "copy the last answer to the clipboard",
        turn_commands.copy,
        turn_commands.suggest_copy_choices,
    ),
    "save": Command(
        "/save FILE.md",
        "write the conversation as Markdown; FILE.md! replaces",
        session_commands.save,
        _paths,
    ),
    "history": Command(
        "/history [N]",
        "show this conversation again, or its last N questions",
        turn_commands.show_history,
    ),
    "sessions": Command(
        "/sessions [TEXT]",
        "earlier conversations, or those with TEXT in them",
        session_commands.show_sessions,
    ),
    "resume": Command(
        "/resume [ID]",
        "continue the last conversation before this, or another",
        session_commands.resume,
        session_commands.suggest_conversations,
    ),
    "think": Command(
        "/think [on|off]",
        "show the last reasoning, or turn reasoning on or off",
        setting_commands.set_thinking,
        setting_commands.suggest_thinking,
    ),
    "effort": Command(
        "/effort [LEVEL]",
        "how thoroughly V4 reasons: none, low, high, max",
        setting_commands.set_effort,
        setting_commands.suggest_efforts,
    ),
    "set": Command(
        "/set [NAME VALUE]",
        "temperature, top_p, max_tokens, …; math (on, off, auto)",
        setting_commands.change_setting,
        setting_commands.suggest_settings,
    ),
    "stats": Command("/stats", "tokens, speed and memory of the last answer", show_stats),
    "exit": Command("/exit", "leave", leave),
}


# What other programs call a command.
OTHER_NAMES = {
    **dict.fromkeys(("quit", "bye", "q", "leave", "stop"), "exit"),
    **dict.fromkeys(("?", "h", "commands"), "help"),
    **dict.fromkeys(("new", "reset"), "clear"),
    **dict.fromkeys(("regenerate", "regen", "again"), "retry"),
    **dict.fromkeys(("load", "models", "list"), "model"),
    "chats": "sessions",
    **dict.fromkeys(("attach", "add"), "file"),
}
# Lines that are a command although no slash is before them.
BARE_WORDS = {"exit": "exit", "quit": "exit", ":q": "exit", "help": "help", "?": "help"}
# What is typed here but belongs to the shell: "dslocal …", or the beginning of it.
_SHELL_LINE = re.compile(
    r"/?dslocal(?: .*)?|/(?:pull|fit|serve|convert|rm|doctor)(?: .*)?"
    r"|(?:pull|run|rm|serve|show) [\w.:/-]*[-.:/\d][\w.:/-]*"
)


def bare_command(line: str) -> str | None:
    """Return the command that a line without a slash is; None for a question."""
    name = BARE_WORDS.get(line.lower())
    return f"/{name}" if name else None


def shell_hint(line: str) -> str | None:
    """Return what to do with a line that was meant for the shell; None for any other."""
    if not _SHELL_LINE.fullmatch(line):
        return None
    command = line.removeprefix("/").removeprefix("dslocal").strip()
    command = "chat " + command.removeprefix("run ") if command.startswith("run ") else command
    return f"that is a command for the shell: type /exit, then dslocal {command}".strip()


def run(active: ActiveChat, line: str) -> None:
    """Run a line that begins with a slash; a name may be shortened where it stays clear.

    Raises:
        UsageError: The command does not exist, or it does not take what follows.
        EOFError: The user leaves.
    """
    name = line[1:].partition(" ")[0]
    rest = line[1 + len(name) :]
    command = COMMANDS.get(OTHER_NAMES.get(name.lower(), name))
    if command is None:
        near = [known for known in COMMANDS if name and known.startswith(name)]
        if len(near) != 1:
            near = near or get_close_matches(name, COMMANDS, MAX_NEAR)
            perhaps = " or ".join(f"/{known}" for known in near)
            raise UsageError(
                f"/{name:.40}: no such command",
                hint=f"did you mean {perhaps}?" if near else "/help lists the commands",
            )
        command = COMMANDS[near[0]]
    rest = rest.strip()
    if rest and not command.takes_argument:
        raise UsageError(f"{command.usage} {rest:.40}: nothing can follow {command.usage}")
    command.run(active, rest)


def suggestions_for(active: ActiveChat, name: str, typed: str) -> Suggestions | None:
    """Return what may follow a command.

    Args:
        active: The chat.
        name: The command, without its slash.
        typed: What is typed after it.

    Returns:
        Words, each with a remark; None for paths.
    """
    command = COMMANDS.get(name)
    return command.suggest(active, typed) if command else []
