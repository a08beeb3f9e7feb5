"""``dslocal``: the application, and what happens to errors.

Typer's rich help costs 100 ms at every start, so it is off; commands import what they need when they run.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import DslocalError
from ..ui.terminal import one_line
from .ask import ask
from .bench import bench
from .chat import chat
from .convert import convert
from .evaluate import evaluate
from .fim import fim
from .fit import fit
from .import_ import import_
from .models import models
from .pull import pull
from .rm import rm
from .show import show

INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended

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
app.command()(chat)
app.command()(convert)
app.command("eval")(evaluate)
app.command()(fim)
app.command()(fit)
app.command("import")(import_)
app.command()(models)
app.command()(pull)
app.command()(rm)
app.command()(show)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.", envvar="DSLOCAL_DEBUG")] = False,
) -> None:
    if debug:
        os.environ["DSLOCAL_DEBUG"] = "1"
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        chat()


def main() -> NoReturn:
    """The console script. Errors become one line, a hint, and the exit code that ``dslocal.errors`` gives them."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        left_with = app(standalone_mode=False)
        code = left_with if isinstance(left_with, int) else 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.__context__, BrokenPipeError):  # which Typer makes a plain 1
            code = BROKEN_PIPE
    except typer.TyperException as e:
        _complain(e.format_message(), "dslocal --help, dslocal COMMAND --help")
        code = e.exit_code
    except typer.Abort:
        code = INTERRUPTED
    except DslocalError as e:
        _complain(str(e), e.hint)
        code = e.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as e:
        _complain(f"{e.filename or 'stdout'}: {e.strerror}", "")
        code = 1
    except Exception as e:
        _complain(f"unexpected {type(e).__name__}: {e}", "dslocal --debug … shows where")
        code = 1
    sys.exit(_flushed(code))


def _complain(message: str, hint: str) -> None:
    if os.environ.get("DSLOCAL_DEBUG"):
        traceback.print_exc()
    print(f"dslocal: {one_line(message)}" + (f" ({one_line(hint)})" if hint else ""), file=sys.stderr)


def _flushed(code: int) -> int:
    """``code`` once stdout is written out; a reader that left, or a full disk, shows only here."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as e:
        _complain(f"stdout: {e.strerror}", "")
        code = code or 1
    else:
        return code
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains again at exit
    return code
