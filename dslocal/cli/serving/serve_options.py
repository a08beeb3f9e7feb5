"""The options of ``dslocal serve`` about the server itself."""

# Annotations are not strings here, as in option_groups.

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal.server.preparation.requests import ServedModel

DEFAULT_PORT = 11435
DEFAULT_SLOTS = 4  # conversations at once, where there is memory for them
MAX_SLOTS = 64
MAX_PORT = 65535
MAX_ALIAS = 200  # characters
MAX_WAITING = 1 << 16
MAX_GRACE_S = 3600
KEY_VARIABLE = "DSLOCAL_API_KEY"


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, for whom, and how much it takes."""

    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen at. Others can connect at 0.0.0.0, with a key."
        ),
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", help="0 takes one that is free.")] = DEFAULT_PORT
    api_key: Annotated[
        Path | None,
        typer.Option(
            "--api-key",
            metavar="FILE",
            help=f"A file with the key that clients must send. [{KEY_VARIABLE}]",
            show_default=False,
        ),
    ] = None
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            metavar="N",
            help=f"Answers at once, each with its own cache. [up to {DEFAULT_SLOTS}]",
            show_default=False,
        ),
    ] = None
    queue: Annotated[
        int, typer.Option("--queue", metavar="N", help="Requests that may wait; more get 429.")
    ] = 64
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="A name that clients may call this server by. Repeatable.",
            show_default=False,
        ),
    ] = None
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            help="A web page's origin that may ask, as http://localhost:3000. Repeatable.",
            show_default=False,
        ),
    ] = None
    alias: Annotated[
        list[str] | None,
        typer.Option(
            "--alias",
            metavar="NAME",
            help="A further name that requests may give the model, as gpt-4o. Repeatable.",
            show_default=False,
        ),
    ] = None
    any_name: Annotated[
        bool, typer.Option("--any-name", help="Answer whatever model a request names.")
    ] = False
    max_body: Annotated[
        str, typer.Option("--max-body", metavar="SIZE", help="Largest request.")
    ] = "8MiB"
    grace: Annotated[
        float,
        typer.Option(
            "--grace", metavar="SECONDS", help="For streams to finish when the server is stopped."
        ),
    ] = 10.0

    def name_model(self, served: "ServedModel") -> "ServedModel":
        """Return ``served`` with the names that requests may give it."""
        aliases = tuple(alias for alias in dict.fromkeys(self.alias or []) if alias != served.name)
        return replace(served, aliases=aliases, has_any_name=self.any_name)

    def check_ranges(self) -> None:
        """Refuse numbers that are out of range, and texts that are not names.

        Raises:
            UsageError: One is.
        """
        for name in self.alias or []:
            if not 0 < len(name) <= MAX_ALIAS or not name.isprintable() or " " in name:
                raise UsageError(
                    f"--alias: {name!r:.40} is not a name",
                    hint=f"1 to {MAX_ALIAS} characters, without blanks",
                )
        _check_range("--port", self.port, 0, MAX_PORT)
        if self.parallel is not None:
            _check_range("--parallel", self.parallel, 1, MAX_SLOTS)
        _check_range("--queue", self.queue, 0, MAX_WAITING)
        _check_range("--grace", self.grace, 0, MAX_GRACE_S)


def _check_range(option: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{option}: {value} is out of range", hint=f"{least} to {most}")
