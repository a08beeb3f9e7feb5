"""``dslocal completion SHELL``: print what makes a shell complete commands, options and names."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dslocal.cli.completion.values import SHELLS, shells
from dslocal.errors import UsageError


def completion(
    shell: Annotated[
        str | None,
        typer.Argument(
            metavar="SHELL",
            help="bash, fish or zsh. [that of $SHELL]",
            show_default=False,
            autocompletion=shells,
        ),
    ] = None,
) -> None:
    """Print a script that makes Tab complete commands and names."""
    from dslocal.cli.completion.scripts import INSTALL, SCRIPTS

    name = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119
    if name not in SCRIPTS:
        what = f"{name!r:.40} is not a shell that dslocal completes in" if name else "which shell?"
        raise UsageError(what, hint=f"dslocal completion {'|'.join(SHELLS)}")
    print(f"# {INSTALL[name]}{SCRIPTS[name]}", end="")
