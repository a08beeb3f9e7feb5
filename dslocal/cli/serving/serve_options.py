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
            help=f"{options.MODEL_HELP} With several models, a request names one.",
            show_default=False,
            autocompletion=completion_values.models,
        ),
    ] = None
    model_option: options.ModelFlag = None
    all_models: Annotated[
        bool, typer.Option("--all", help="Serve every model on this machine that fits into memory.")
    ] = False

    def names(self) -> list[str | None]:
        """Return the names of the models; None is the one used last.

        Raises:
            UsageError: A name was given in two ways.
        """
        given: list[str | None] = [*(self.model or [])]
        if self.model_option and given:
            raise UsageError(
                f"{given[0]!r:.80} and -m {self.model_option!r:.80} name two models",
                hint="dslocal serve NAME NAME… serves several",
            )
        if self.model_option:
            given = [self.model_option]
        if self.all_models:
            if given:
                raise UsageError(
                    "--all and names of models cannot be combined", hint="use one of them"
                )
            from .all_models import all_model_names

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
            help="Listen at this address. At 0.0.0.0 other machines can connect, with a key.",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Listen at this port; 0 takes a free one.")
    ] = DEFAULT_PORT
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
            help="Generate this many answers at once, each in a slot with its own cache. [up to "
            f"{DEFAULT_SLOTS}]",
            show_default=False,
        ),
    ] = None
    queue: Annotated[
        int,
        typer.Option(
            "--queue",
            metavar="N",
            help="Let this many requests wait; further requests get status 429.",
        ),
    ] = 64
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A host name that clients may use for this server. Repeatable.",
            show_default=False,
        ),
    ] = None
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="URL",
            help=(
                "The origin of a web page that may send requests, such as http://localhost:3000. "
                "Repeatable."
            ),
            show_default=False,
        ),
    ] = None
    alias: Annotated[
        list[str] | None,
        typer.Option(
            "--alias",
            metavar="NAME",
            help="Another name of the model in requests, such as gpt-4o. Repeatable.",
            show_default=False,
        ),
    ] = None
    any_name: Annotated[
        bool, typer.Option("--any-name", help="Answer requests for any model name.")
    ] = False
    max_body: Annotated[
        str, typer.Option("--max-body", metavar="SIZE", help="Refuse larger requests.")
    ] = "8MiB"
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="RAM that all models together may take. [what is free]",
            show_default=False,
        ),
    ] = None
    disk_cache: Annotated[
        str | None,
        typer.Option(
            "--disk-cache",
            metavar="SIZE",
            help="Disk for the KV cache of evaluated prompts, which saves evaluating them again; 0 "
            "keeps none. [8GiB]",
            show_default=False,
        ),
    ] = None
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            help="Wait this long for answers to finish when the server is stopped.",
        ),
    ] = 10.0

    @property
    def max_ram(self) -> int | None:
        """Return the bytes of RAM that models may take; None where that is not limited.

        Raises:
            UsageError: It is not a size.
        """
        from dslocal.api.arguments.sizes import size_in_bytes

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
