"""The application ``dslocal``: its commands, and the exit codes of their errors.

Typer's rich help costs 100 ms at every start, so it is off; commands import what they need when
they run.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from dslocal import __version__
from dslocal.cli.commands.ask import ask
from dslocal.cli.commands.bench import bench
from dslocal.cli.commands.build_rpc import build_rpc
from dslocal.cli.commands.chat import ChatCommand, chat
from dslocal.cli.commands.completion import completion
from dslocal.cli.commands.convert import convert
from dslocal.cli.commands.doctor import doctor
from dslocal.cli.commands.eval_ import evaluate
from dslocal.cli.commands.fim import fim
from dslocal.cli.commands.fit import fit
from dslocal.cli.commands.help_ import help_
from dslocal.cli.commands.imatrix import imatrix
from dslocal.cli.commands.import_ import import_
from dslocal.cli.commands.models import models
from dslocal.cli.commands.pull import pull
from dslocal.cli.commands.quality import quality
from dslocal.cli.commands.quantize import quantize
from dslocal.cli.commands.rm import rm
from dslocal.cli.commands.serve import serve
from dslocal.cli.commands.sessions import sessions
from dslocal.cli.commands.show import show
from dslocal.cli.commands.templates import templates
from dslocal.cli.commands.worker import worker
from dslocal.errors import DslocalError, ExitCode
from dslocal.terminal.sanitise import one_line

from . import PROGRAM, leave_at_once, restore_interrupts
from .completion.scripts import REQUEST_VARIABLE, register_shells
from .options import ModelFlag
from .parsing import (
    ModelOptionCommand,
    OneValueCommand,
    RootGroup,
    plain_message,
    refuse_options,
)
from .process import environment, signals, streams

HINTS = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space: the quota is used up",
    errno.EROFS: "that disk is read-only",
    errno.EACCES: "its permissions do not allow that",
}

app = typer.Typer(
    name="dslocal",
    cls=RootGroup,
    help="Run DeepSeek models on this machine. Without a command, dslocal starts a chat.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=ModelOptionCommand)(ask)
app.command(cls=OneValueCommand)(bench)
app.command("build-rpc", cls=OneValueCommand)(build_rpc)
app.command(cls=ChatCommand)(chat)
app.command(cls=OneValueCommand)(completion)
app.command(cls=OneValueCommand)(convert)
app.command(cls=OneValueCommand)(doctor)
app.command("eval", cls=OneValueCommand)(evaluate)
app.command(cls=OneValueCommand)(fim)
app.command(cls=OneValueCommand)(fit)
app.command("help", cls=OneValueCommand)(help_)
app.command(cls=OneValueCommand)(imatrix)
app.command("import", cls=OneValueCommand)(import_)
app.command(cls=OneValueCommand)(models)
app.command(cls=OneValueCommand)(pull)
app.command(cls=OneValueCommand)(quality)
app.command(cls=OneValueCommand)(quantize)
app.command(cls=OneValueCommand)(rm)
app.command(cls=OneValueCommand)(serve)
app.add_typer(sessions)
app.command(cls=OneValueCommand)(show)
app.add_typer(templates)
app.command(cls=OneValueCommand)(worker)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors. [env: DSLOCAL_DEBUG=1]")
    ] = False,
    model: ModelFlag = None,
) -> None:
    """Do what options without a command ask for; with none of these, chat."""
    if debug:
        os.environ[environment.DEBUG] = "1"
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        chat(model_option=model)
    else:
        refuse_options(context, model=model)


def main() -> NoReturn:
    """Run the console script, and exit with the code that the result or the error has.

    An error becomes one line with its hint on stderr. A signal that ended the work ends the
    process as well, once everything is in order.
    """
    ending = signals.EndingSignals()
    try:
        restore_interrupts()
        streams.prepare_stderr()
        with ending:
            code = _run()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    if ending.received:
        _flush_stdout(code)
        signals.die_of(ending.received)
    if PROGRAM == "dslocal":  # nothing is left to interrupt but the interpreter's own end
        signal.signal(signal.SIGINT, leave_at_once)
    sys.exit(_flush_stdout(code))


def _run() -> int:
    """Run the command line and return the exit code; an error is printed."""
    if not streams.prepare_stdout():
        _print_error("stdout is closed", "use >/dev/null to discard the answer")
        return ExitCode.FAILURE
    try:
        environment.prepare()
        if REQUEST_VARIABLE in os.environ:
            register_shells()
        result = app(standalone_mode=False)
        return result if isinstance(result, int) else ExitCode.SUCCESS
    except SystemExit as e:
        return _code_of_exit(e)
    except typer.TyperException as e:
        _print_error(plain_message(e), f"{_command_of(e)} --help lists the options")
        return e.exit_code
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except DslocalError as e:
        _print_error(str(e), e.hint)
        return e.exit_code
    except OSError as e:
        _print_error(f"{e.filename or 'stdout'}: {e.strerror}", _remedy(e))
        return ExitCode.FAILURE
    except Exception as e:
        _print_error(f"unexpected {type(e).__name__}: {e}", "dslocal --debug … shows a traceback")
        return ExitCode.FAILURE


def _remedy(error: OSError) -> str:
    """Return what to do about an error of the disk; dslocal's own folders can be moved."""
    from pathlib import Path

    from dslocal import home

    hint = HINTS.get(error.errno or 0, "")
    named = error.filename if isinstance(error.filename, str) else ""
    folders = (home.cache_dir(), home.config_dir(), home.state_dir())
    # A parent is named where a folder cannot be made.
    if named and any(
        folder.is_relative_to(named) or Path(named).is_relative_to(folder) for folder in folders
    ):
        return f"{hint}; DSLOCAL_HOME=FOLDER moves dslocal's folders".removeprefix("; ")
    return hint


def _code_of_exit(error: SystemExit) -> int:
    if isinstance(error.__context__, BrokenPipeError):  # Typer makes a plain 1 of it
        return ExitCode.BROKEN_PIPE
    if isinstance(error.code, int):
        return error.code
    return ExitCode.SUCCESS if error.code is None else ExitCode.FAILURE


def _command_of(error: typer.TyperException) -> str:
    """Return the command whose options ``error`` is about."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "dslocal"


def _print_error(message: str, hint: str) -> None:
    if environment.debugs():
        traceback.print_exc()
    shown_hint = f" ({one_line(hint)})" if hint else ""
    print(f"dslocal: {one_line(message)}{shown_hint}", file=sys.stderr)


def _flush_stdout(code: int) -> int:
    """Return the exit code, once stdout is written out.

    A reader that left, or a full disk, may show only here.
    """
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    except OSError as e:
        _print_error(f"stdout: {e.strerror}", HINTS.get(e.errno or 0, ""))
        code = code or ExitCode.FAILURE
    else:
        return code
    # The interpreter flushes once more at exit, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
