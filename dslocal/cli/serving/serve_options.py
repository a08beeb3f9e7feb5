"""The options of ``dslocal serve`` about the server itself."""

# Annotations are not strings here, as in option_groups.

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dslocal.cli import options
from dslocal.cli.completion import values as completion_values
from dslocal.errors import UsageError

DEFAULT_PORT = 11435
DEFAULT_SLOTS = 4  # conversations at once, where there is memory for them
MAX_SLOTS = 64
MAX_PORT = 65535
MAX_ALIAS = 200  # characters
MAX_WAITING = 1 << 16
MAX_GRACE_S = 3600
KEY_VARIABLE = "DSLOCAL_API_KEY"


@dataclass(frozen=True)
class ServedNames:
    """The models that are served."""

    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help=f"{options.MODEL_HELP} Of several, requests choose by name.",
            show_default=False,
            autocompletion=completion_values.models,
        ),
    ] = None
    model_option: options.ModelFlag = None
    all_models: Annotated[
        bool, typer.Option("--all", help="Serve every model that is on this machine and fits.")
    ] = False

    def names(self) -> list[str | None]:
        """Return the names of the models; None is the one used last.

        Raises:
            UsageError: A name was given in two ways.
        """
        given: list[str | None] = [*(self.model or [])]
        if self.model_option and given:
            raise UsageError(
                f"{given[0]!r:.80} and -m {self.model_option!r:.80} are two models",
                hint="serve NAME NAME… serves several",
            )
        if self.model_option:
            given = [self.model_option]
        if self.all_models:
            if given:
                raise UsageError("--all serves every model: none is named", hint="one of the two")
            from .offered_models import all_model_names

            return [*all_model_names()]
        return given or [None]


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, for whom, and how much it takes."""

    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen at. Others can connect at 0.0.0.0, with a key.",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 takes one that is free.")] = (
        DEFAULT_PORT
    )
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
            metavar="NAME",
            help="A name that clients may call this server by. Repeatable.",
            show_default=False,
        ),
    ] = None
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="URL",
            help=(
                "The origin of a web page that may ask, such as http://localhost:3000. Repeatable."
            ),
            show_default=False,
        ),
    ] = None
    alias: Annotated[
        list[str] | None,
        typer.Option(
            "--alias",
            metavar="NAME",
            help="Another name that requests may give the model, such as gpt-4o. Repeatable.",
            show_default=False,
        ),
    ] = None
    any_name: Annotated[
        bool, typer.Option("--any-name", help="Answer whatever model a request names.")
    ] = False
    max_body: Annotated[
        str, typer.Option("--max-body", metavar="SIZE", help="Largest request.")
    ] = "8MiB"
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="RAM that the models may take together. [what is free]",
            show_default=False,
        ),
    ] = None
    disk_cache: Annotated[
        str | None,
        typer.Option(
            "--disk-cache",
            metavar="SIZE",
            help="Disk for evaluated prompts, which are then not evaluated again; 0 keeps none. "
            "[8GiB]",
            show_default=False,
        ),
    ] = None
    grace: Annotated[
        float,
        typer.Option(
            "--grace", metavar="SECONDS", help="For answers to finish when the server is stopped."
        ),
    ] = 10.0

    @property
    def max_ram(self) -> int | None:
        """Return the bytes of RAM that models may take; None where that is not limited.

        Raises:
            UsageError: It is not a size.
        """
        from dslocal.api.sizes import size_in_bytes

        return size_in_bytes(self.memory) if self.memory else None

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
        _ = self.max_ram
        _check_range("--port", self.port, 0, MAX_PORT)
        if self.parallel is not None:
            _check_range("--parallel", self.parallel, 1, MAX_SLOTS)
        _check_range("--queue", self.queue, 0, MAX_WAITING)
        _check_range("--grace", self.grace, 0, MAX_GRACE_S)


def _check_range(option: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{option}: {value} is out of range", hint=f"{least} to {most}")
