"""``dslocal``: the application, and what happens to errors.

Typer's rich help costs 100 ms at every start, so it is off; commands import what they need when
they run.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from dslocal import __version__
from dslocal.cli.commands.ask import ask
from dslocal.cli.commands.bench import bench
from dslocal.cli.commands.chat import ChatCommand, chat
from dslocal.cli.commands.completion import completion, prepare
from dslocal.cli.commands.convert import convert
from dslocal.cli.commands.doctor import doctor
from dslocal.cli.commands.eval_ import evaluate
from dslocal.cli.commands.fim import fim
from dslocal.cli.commands.fit import fit
from dslocal.cli.commands.help_ import help_
from dslocal.cli.commands.import_ import import_
from dslocal.cli.commands.models import models
from dslocal.cli.commands.pull import pull
from dslocal.cli.commands.rm import rm
from dslocal.cli.commands.serve import serve
from dslocal.cli.commands.sessions import sessions
from dslocal.cli.commands.show import show
from dslocal.cli.commands.templates import templates
from dslocal.errors import DslocalError, ExitCode
from dslocal.terminal.sanitise import ENCODABLE, one_line

from . import restore_interrupts

HINTS = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room: the quota is used up",
    errno.EROFS: "that disk may only be read",
    errno.EACCES: "its permissions do not allow it",
}

app = typer.Typer(
    name="dslocal",
    help="Run DeepSeek models on this machine. Without a command: chat.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(ask)
app.command()(bench)
app.command(cls=ChatCommand)(chat)
app.command()(completion)
app.command()(convert)
app.command()(doctor)
app.command("eval")(evaluate)
app.command()(fim)
app.command()(fit)
app.command("help")(help_)
app.command("import")(import_)
app.command()(models)
app.command()(pull)
app.command()(rm)
app.command()(serve)
app.add_typer(sessions)
app.command()(show)
app.add_typer(templates)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors.", envvar="DSLOCAL_DEBUG")
    ] = False,
) -> None:
    if debug:
        os.environ["DSLOCAL_DEBUG"] = "1"
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        chat()


def main() -> NoReturn:
    """The console script. Errors become one line, a hint, and the exit code that ``dslocal.errors``
    gives them.
    """
    restore_interrupts()
    if sys.stderr is None:  # closed, as 2>&- does; nothing else may get its number
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        _complain("stdout is closed", ">/dev/null throws an answer away")
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        encoding = (
            stream.encoding if stream.isatty() else "utf-8"
        )  # a terminal says what it can show; a pipe gets the text whole
        stream.reconfigure(encoding=encoding, errors=ENCODABLE)  # type: ignore[union-attr]
    prepare()
    try:
        left_with = app(standalone_mode=False)
        code = left_with if isinstance(left_with, int) else 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.__context__, BrokenPipeError):  # which Typer makes a plain 1
            code = ExitCode.BROKEN_PIPE
    except typer.TyperException as e:
        _complain(e.format_message(), "dslocal --help, dslocal COMMAND --help")
        code = e.exit_code
    except typer.Abort:
        code = ExitCode.INTERRUPTED
    except DslocalError as e:
        _complain(str(e), e.hint)
        code = e.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except OSError as e:
        _complain(f"{e.filename or 'stdout'}: {e.strerror}", HINTS.get(e.errno or 0, ""))
        code = 1
    except Exception as e:
        _complain(f"unexpected {type(e).__name__}: {e}", "dslocal --debug … shows where")
        code = 1
    sys.exit(_flushed(code))


def _complain(message: str, hint: str) -> None:
    if os.environ.get("DSLOCAL_DEBUG"):
        traceback.print_exc()
    print(
        f"dslocal: {one_line(message)}" + (f" ({one_line(hint)})" if hint else ""), file=sys.stderr
    )


def _flushed(code: int) -> int:
    """``code`` once stdout is written out; a reader that left, or a full disk, shows only here."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    except OSError as e:
        _complain(f"stdout: {e.strerror}", HINTS.get(e.errno or 0, ""))
        code = code or 1
    else:
        return code
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
    )  # or the interpreter complains again at exit
    return code
