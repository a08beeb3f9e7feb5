"""A conversation as a Markdown file: reasoning folded away, mathematics as the model wrote it.

A file is written as a whole or not at all.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dslocal import prompts
from dslocal.errors import DslocalError, UsageError
from dslocal.terminal.sanitise import one_line, sanitise

MAX_NAME = 100  # characters of the name of a model or a tool
CUT_REMARKS = {"interrupted": "*(interrupted)*", "length": "*(cut: no tokens were left)*"}
_ATTACHED = re.compile(  # prompts.attach_files writes it
    r"\[file name\]: (?P<name>.*)\n\[file content begin\]\n(?P<content>[\s\S]*?)"
    r"\n\[file content end\]\n"
)
_FOLD_TAG = re.compile(r"<(?=/?details|/?summary)", re.IGNORECASE)


def to_markdown(history: Sequence[prompts.Message], model: str, system: str, began: float) -> str:
    """Return a conversation as Markdown, without control characters.

    Args:
        history: The messages.
        model: What the model is called.
        system: The instructions, empty for none.
        began: When the conversation began, in seconds since the epoch.
    """
    when = time.strftime("%d %B %Y, %H:%M", time.localtime(began))
    lines = [f"# Conversation with {one_line(model, MAX_NAME)}", "", when, ""]
    if system:
        lines += _section("Instructions", system)
    for message in history:
        if message.role == "user":
            lines += _question_lines(message)
        elif message.role == "assistant":
            lines += _answer_lines(message)
        else:
            lines += _section(message.role.capitalize(), message.content)
    return "\n".join(lines)


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", "", sanitise(text), ""]


def _question_lines(question: prompts.Message) -> list[str]:
    """Return what was typed, with the files that went with it fenced before it.

    The vendor's directive, which was added to it, is left out.
    """
    if not question.typed:
        return _section("Question", question.content)
    before = question.content[: max(question.content.rfind(question.typed), 0)]
    lines = ["## Question", ""]
    for file in _ATTACHED.finditer(before):
        content = sanitise(file["content"])
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
        lines += [f"File {one_line(file['name'])}:", "", fence, content, fence, ""]
    beside = sanitise(_ATTACHED.sub("", before)).strip()
    return [*lines, *([beside, ""] if beside else []), sanitise(question.typed), ""]


def _answer_lines(answer: prompts.Message) -> list[str]:
    lines = ["## Answer", "", *_folded_reasoning(answer.reasoning)]
    if answer.content:
        lines += [sanitise(answer.content), ""]
    for call in answer.calls:
        lines.append(f"*(calls {one_line(call.name, MAX_NAME)}: {one_line(call.arguments)})*\n")
    if answer.cut in CUT_REMARKS:
        lines += [CUT_REMARKS[answer.cut], ""]
    return lines


def _folded_reasoning(text: str) -> list[str]:
    """Return the reasoning inside of a fold that it cannot end early."""
    if not text:
        return []
    folded = _FOLD_TAG.sub("&lt;", sanitise(text))
    return ["<details>", "<summary>Reasoning</summary>", "", folded, "", "</details>", ""]


def write_new(path: Path, text: str, *, may_replace: bool) -> None:
    """Write a file as a whole or not at all.

    Raises:
        UsageError: There is a file already, and it may not be replaced.
        DslocalError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not may_replace:
            raise UsageError(f"{path} exists already", hint=f"/save {path}! replaces it")
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if may_replace:
            beside.replace(path)
        else:
            _rename_to_new(beside, path)
    except OSError as e:
        raise DslocalError(f"{path}: cannot be written: {e.strerror}") from e
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _rename_to_new(beside: Path, path: Path) -> None:
    """Give a file its name. Raises FileExistsError where something has it by now."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        beside.replace(path)


def last_code(text: str) -> str | None:
    """Return the last block of code in Markdown, without its fence; None where there is none."""
    from markdown_it import MarkdownIt

    blocks = [
        token.content
        for token in MarkdownIt("commonmark").parse(text)
        if token.type in ("fence", "code_block")
    ]
    return blocks[-1] if blocks else None
