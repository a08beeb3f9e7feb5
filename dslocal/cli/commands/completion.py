"""``dslocal completion SHELL``: print a shell's script for completion."""

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
            help="bash, fish or zsh. [from $SHELL]",
            show_default=False,
            autocompletion=shells,
        ),
    ] = None,
) -> None:
    """Print a shell's script for completion by Tab."""
    from dslocal.cli.completion.scripts import INSTALL, SCRIPTS

    name = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119
    if name not in SCRIPTS:
        what = f"dslocal has no completion for {name!r:.40}" if name else "no shell is named"
        raise UsageError(what, hint=f"dslocal completion {'|'.join(SHELLS)}")
    print(f"# {INSTALL[name]}{SCRIPTS[name]}", end="")
