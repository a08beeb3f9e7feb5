"""Write an answer to stdout while it is generated, and everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer

from dslocal import chat, output
from dslocal.cli import supervisor
from dslocal.errors import ExitCode
from dslocal.terminal.progress_line import ProgressLine, can_redraw
from dslocal.terminal.sanitise import one_line, sanitise
from dslocal.terminal.word_wrap import WordWrapper, terminal_width

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
MAX_SHOWN_LOOP = 100
RUNAWAY_TOKENS = 256  # of an answer to a schema, from which on it is taken for one without an end


@contextmanager
def printed_at_the_end(print_result: Callable[[str], None]) -> Iterator[None]:
    """Print the result of the work, whole or not: a script reads it whatever ended the work.

    Args:
        print_result: Takes why the work failed; an empty text where it did not, or was interrupted.
    """
    failure = ""
    try:
        with supervisor.before_abort(print_result):
            yield
    except Exception as e:
        failure = str(e)
        raise
    finally:
        print_result(failure)


class AnswerPrinter:
    """Prints one answer: text to stdout and reasoning to stderr, dim on a terminal.

    Text is held back until it is certain that it is not reasoning: a pipe takes nothing back.
    """

    def __init__(
        self, *, to_stdout: bool, show_reasoning: bool, is_certain: Callable[[], bool]
    ) -> None:
        """Prepare to print.

        Args:
            to_stdout: Whether the text is printed.
            show_reasoning: Whether the reasoning is.
            is_certain: Says whether the text so far can no longer turn out to be reasoning.
        """
        self._to_stdout = to_stdout
        self._show_reasoning = show_reasoning
        self._is_certain = is_certain
        self._is_dim = sys.stderr.isatty() and not has_no_colour()
        self._held = ""
        self._answer_words = WordWrapper(terminal_width(sys.stdout))
        self._reasoning_words = WordWrapper(terminal_width(sys.stderr))
        self._reasoning_is_open = False
        self._has_printed = False

    def print_all(self, events: Iterable[chat.Event]) -> None:
        """Print the events of an answer, up to where it is interrupted."""
        with printed_at_the_end(self._finish):
            for event in events:
                match event:
                    case output.Reasoning(text):
                        self._print_reasoning(text)
                    case output.Reclassified():
                        self._print_reasoning(self._held)
                        self._held = ""
                    case output.Text(text) if self._to_stdout:
                        self._held += text
                        if self._is_certain():
                            self._print_held()

    def _print_reasoning(self, text: str) -> None:
        if not self._show_reasoning or not text:
            return
        self._write_reasoning(self._reasoning_words.feed(sanitise(text)))
        self._reasoning_is_open = True

    def _write_reasoning(self, shown: str) -> None:
        if shown:
            sys.stderr.write(f"{DIM}{shown}{PLAIN}" if self._is_dim else shown)
            sys.stderr.flush()

    def _print_held(self) -> None:
        if self._reasoning_is_open:
            self._write_reasoning(self._reasoning_words.finish())
            sys.stderr.write("\n\n")
            sys.stderr.flush()
            self._reasoning_is_open = False
        self._write(self._held)
        sys.stdout.flush()
        self._held = ""

    def _write(self, text: str) -> None:
        self._has_printed = True
        sys.stdout.write(self._answer_words.feed(sanitise(text)))

    def _finish(self, _: str) -> None:
        """Print what is held back, and end the lines."""
        if self._reasoning_is_open:
            self._write_reasoning(self._reasoning_words.finish())
            print(file=sys.stderr)
        if self._held:
            self._write(self._held)
        if self._has_printed:
            print(self._answer_words.finish(), flush=True)


def prefill_progress() -> Callable[[int, int], None] | None:
    """Return a callback that shows a long prefill on a terminal's stderr, None elsewhere."""
    if not can_redraw():
        return None
    line = ProgressLine()

    def report(done: int, total: int) -> None:
        if done < total:
            line.show(f"reading the prompt: {done:,} of {total:,} tokens", done / total)
        else:
            line.clear()

    return report


def statistics(turn: output.Turn) -> str:
    """Return the counts of an answer in one line."""
    drafts = ""
    if turn.drafted_tokens:
        drafts = f", {turn.accepted_tokens:,} of {turn.drafted_tokens:,} drafts accepted"
    return (
        f"{turn.prompt_tokens:,} + {turn.completion_tokens:,} tokens "
        f"({turn.reasoning_tokens:,} of reasoning), "
        f"{turn.tokens_per_s:,.0f} tokens/s{drafts}, seed {turn.seed}"
    )


def exit_if_incomplete(turns: Sequence[output.Turn], *, has_schema: bool = False) -> None:
    """Exit with 5 when an answer was cut by its limit or the context, or is empty; say so.

    Args:
        turns: The answers.
        has_schema: Whether they had to follow a JSON Schema.

    Raises:
        typer.Exit: One was.
    """
    for turn in turns:
        if turn.loop:
            loop = one_line(str(turn.loop), MAX_SHOWN_LOOP)
            ended = "" if turn.is_cut else "; dslocal ended its reasoning"
            print(
                f"dslocal: the model repeats itself: {loop}{ended} (a higher temperature helps)",
                file=sys.stderr,
            )
    empty = print_empty(turns)
    cut = [turn for turn in turns if turn.is_cut]
    if not cut and not empty:
        return
    if cut and not cut[0].loop:
        tokens = cut[0].completion_tokens
        after = f"the answer was cut off after {tokens:,} token{'s' if tokens != 1 else ''}"
        print(f"dslocal: {after} ({_remedy(cut[0], has_schema)})", file=sys.stderr)
    raise typer.Exit(ExitCode.CONTEXT_OVERFLOW)


def print_empty(turns: Sequence[output.Turn]) -> int:
    """Say on stderr which answers are empty because the model stopped, and return how many."""
    empty = [turn for turn in turns if turn.no_answer]
    if empty:
        of_several = f"{len(empty)} of {len(turns)} answers are empty: " if len(turns) > 1 else ""
        print(
            f"dslocal: no answer: {of_several}{empty[0].no_answer} (another --seed may give one)",
            file=sys.stderr,
        )
    return len(empty)


def _remedy(cut: output.Turn, has_schema: bool) -> str:
    """Return what helps against a cut."""
    if has_schema and cut.completion_tokens - cut.reasoning_tokens > RUNAWAY_TOKENS:
        return (
            "a text or list of the schema did not end: set maxLength or maxItems in the schema, or "
            "say in the question how long it may be"
        )
    return "use a larger --max-tokens or --ctx"


def has_no_colour() -> bool:
    """Return whether the environment asks for no colour."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
