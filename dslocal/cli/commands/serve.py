"""``dslocal serve``: the model over HTTP, in OpenAI's and DeepSeek's formats, for Open WebUI,
editors and scripts.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.api.sizes import size_in_bytes
from dslocal.cli.options import (
    CpuMoe,
    Ctx,
    FamilyFlag,
    GpuLayers,
    Kv,
    MathFlag,
    ModelArgument,
    Mtp,
    Think,
)
from dslocal.errors import DoesNotFitError, DslocalError, NotFoundError, UsageError

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext
    from dslocal.gguf.header import GgufHeader
    from dslocal.plan.search import Overrides

PORT = 11435
NEEDED = ("starlette", "uvicorn", "pydantic", "prometheus_client", "greenlet")
USUAL_PLACES = 4  # conversations at once, where there is memory for them
MOST_PLACES = 64
KEY_VARIABLE = "DSLOCAL_API_KEY"
LEAST_KEY = 8  # characters

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where this machine itself finds what listens there
ROOM_FOR_TOOLS = 16_384  # tokens; Open WebUI 0.12 describes its tools in 11,000 of every prompt
WITHOUT_TOOLS = """DEFAULT_MODEL_METADATA='{"capabilities": {"builtin_tools": false}}'"""


def serve(
    model: ModelArgument = None,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen at. Others can connect at 0.0.0.0, with a key."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes one that is free.")] = PORT,
    api_key: Annotated[
        Path | None,
        typer.Option(
            "--api-key",
            metavar="FILE",
            help=f"A file with the key that clients must send. [{KEY_VARIABLE}]",
            show_default=False,
        ),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            metavar="N",
            help=f"Answers at once, each with its own cache. [up to {USUAL_PLACES}]",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", metavar="N", help="Requests that may wait; more get 429.")
    ] = 64,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="A name that clients may call this server by. Repeatable.",
            show_default=False,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            help="A web page's origin that may ask, as http://localhost:3000. Repeatable.",
            show_default=False,
        ),
    ] = None,
    max_body: Annotated[
        str, typer.Option("--max-body", metavar="SIZE", help="Largest request.")
    ] = "8MiB",
    grace: Annotated[
        float,
        typer.Option(
            "--grace", metavar="SECONDS", help="For streams to finish when the server is stopped."
        ),
    ] = 10.0,
    think: Think = None,
    math: MathFlag = None,
    ctx: Ctx = None,
    kv: Kv = None,
    n_gpu_layers: GpuLayers = None,
    cpu_moe: CpuMoe = None,
    mtp: Mtp = "auto",
    family: FamilyFlag = None,
    open_webui: Annotated[
        bool, typer.Option("--open-webui", help="Print what connects Open WebUI, then serve.")
    ] = False,
    log_prompts: Annotated[
        bool, typer.Option("--log-prompts", help="Write prompts and answers to the log as well.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Write no line for every request.")
    ] = False,
) -> None:
    """Serve a model over HTTP, as OpenAI's and DeepSeek's APIs do."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise DslocalError(
            f"dslocal serve needs {', '.join(missing)}", hint="pip install 'dslocal[server]'"
        )
    _check(port, parallel, queue, grace)
    key = _key(api_key)
    exposed = not _is_loopback(host)
    if exposed and key is None:
        raise UsageError(
            f"--host {host:.100}: others could connect, so a key is needed",
            hint=f"--api-key FILE, or {KEY_VARIABLE} in the environment",
        )
    largest = size_in_bytes(max_body)
    from dslocal.cli import session_setup

    path, header, spoken = session_setup.prepare(model, family)
    settings = session_setup.settings_for(spoken.defaults, {})
    gap_settings = session_setup.settings_for(spoken.fim.defaults, {}) if spoken.fim else settings
    thinking = session_setup.thinking_for(spoken, think).value
    session_setup.advise(spoken, settings, thinking, "")
    from dslocal.catalog import resolve
    from dslocal.server import process
    from dslocal.server.access import AccessPolicy
    from dslocal.server.app import Server
    from dslocal.server.discovery import RunningServer, announced, new_token, short_metadata
    from dslocal.server.metrics import Metrics
    from dslocal.server.queue import RequestQueue
    from dslocal.server.requests import ServedModel

    listener = process.bind_socket(host, port)
    port = listener.getsockname()[1]
    called = session_setup.named_model(model) or resolve.last_used_model() or resolve.DEFAULT
    name = Path(called).stem if Path(called).suffix == ".gguf" or os.sep in called else called
    with listener, ExitStack() as stack:
        overrides = _pins(
            path,
            header,
            parallel,
            session_setup.pins_for(header, ctx, kv, n_gpu_layers, cpu_moe, mtp),
        )
        context = stack.enter_context(session_setup.running(path, header, overrides))
        places = stack.enter_context(_places(context))
        from dslocal.gguf.header import fingerprint

        identity, token = fingerprint(path), new_token()
        names = frozenset(
            known for known in (name, called, path.stem, header.text("general.name")) if known
        )
        served = ServedModel(
            places[0], spoken, settings, gap_settings, thinking, name, names, identity, math
        )
        hosts = frozenset(
            each.lower() for each in (*(allow_host or []), host, *_own_names(exposed))
        )
        access = AccessPolicy(
            key,
            hosts,
            frozenset(allow_origin or []),
            is_exposed=exposed,
            max_body_bytes=largest,
            own_token=token,
        )
        requests = RequestQueue(places, queue)
        server = Server(
            served, requests, access, Metrics(requests), _silent if quiet else _log, log_prompts
        )
        near = EVERYWHERE.get(host, host)
        where, what = (
            (near, port, name, str(path.resolve())),
            (spoken.name, context.n_ctx, context.kv_type),
        )
        stack.enter_context(
            announced(
                RunningServer(
                    os.getpid(),
                    *where,
                    identity,
                    *what,
                    token,
                    short_metadata(header),
                    header.data_start,
                )
            )
        )

        def ready() -> None:
            each = (
                f"{len(places)} answers at once, each with a context of"
                if len(places) > 1
                else "one answer at a time, in a context of"
            )
            print(
                f"dslocal: {name} at {_address(host, port)}: {each} {context.n_ctx:,} tokens",
                file=sys.stderr,
                flush=True,
            )
            if open_webui:
                _print_open_webui(_address(near, port), api_key, key, context.n_ctx)

        process.serve(server, listener, grace_s=grace, on_ready=ready)
        requests.threads.shutdown()


def _check(port: int, parallel: int | None, queue: int, grace: float) -> None:
    for option, value, least, most in (
        ("--port", port, 0, 65535),
        ("--parallel", parallel, 1, MOST_PLACES),
        ("--queue", queue, 0, 1 << 16),
        ("--grace", grace, 0, 3600),
    ):
        if value is not None and not least <= value <= most:
            raise UsageError(f"{option}: {value:g} is out of range", hint=f"{least} to {most}")


def _pins(path: Path, header: GgufHeader, parallel: int | None, overrides: Overrides) -> Overrides:
    """``pins`` with so many conversations at once: as asked for, else as many as cost nothing of
    what one alone would have.
    """
    from dataclasses import replace

    from dslocal.engine import loader

    if parallel is not None or overrides.mtp:
        several = parallel or 1
        if several > 1 and overrides.mtp:
            raise UsageError(
                "--mtp on drafts for one conversation alone", hint="--parallel 1, or --mtp auto"
            )
        return replace(overrides, n_seq=several, mtp=False) if several > 1 else overrides
    alone = loader.plan_for(path, header, replace(overrides, mtp=False))
    if alone.verdict == "ssd":
        return overrides
    for several in range(USUAL_PLACES, 1, -1):
        try:
            planned = loader.plan_for(path, header, replace(overrides, n_seq=several, mtp=False))
        except DoesNotFitError:
            continue
        if replace(
            planned.load_config, n_seq=1, n_outputs=1, repack=alone.load_config.repack
        ) == replace(alone.load_config, n_outputs=1):
            return replace(overrides, n_seq=several, mtp=False)
    return overrides


@contextmanager
def _places(context: LlamaContext) -> Iterator[Sequence[LlamaContext]]:
    """Where answers are generated: in the context itself, with drafts, when it is for one
    conversation.
    """
    if context.load_config.n_seq == 1:
        yield [context]
        return
    from dslocal.engine.slots.slots import SlotPool

    with SlotPool(context) as pool:
        yield pool.slots


def _key(file: Path | None) -> str | None:
    """The key that clients must send. Raises UsageError for one that could be guessed, and for a
    file that others can read.
    """
    if file is None:
        key, source = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
        if not key:
            return None
    else:
        try:
            with file.open(encoding="utf-8") as opened:
                key, source = opened.read(4096), str(file)
                shared = os.fstat(opened.fileno()).st_mode & 0o077
        except (OSError, ValueError) as e:
            raise NotFoundError(
                f"--api-key: {file}: {getattr(e, 'strerror', None) or 'is no text'}",
                hint="a file with the key",
            ) from None
        if shared:
            raise UsageError(f"--api-key: {file}: others can read it", hint=f"chmod 600 {file}")
    key = key.strip()
    if len(key) < LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"{source}: a key is {LEAST_KEY} characters or more, without blanks",
            hint="openssl rand -hex 24 makes one",
        )
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _own_names(exposed: bool) -> list[str]:
    import socket

    return [socket.gethostname()] if exposed else []


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _print_open_webui(at: str, file: Path | None, key: str | None, n_ctx: int) -> None:
    """The lines for a shell; the key itself is not in them. On stderr, what a small context needs
    besides.
    """
    shown = "none" if key is None else f'"$(cat {file})"' if file else f'"${KEY_VARIABLE}"'
    print(
        f"export OPENAI_API_BASE_URL={at}\nexport OPENAI_API_KEY={shown}\nopen-webui serve",
        flush=True,
    )
    if n_ctx < ROOM_FOR_TOOLS:
        print(
            f"dslocal: Open WebUI's own tools fill this context; {WITHOUT_TOOLS} leaves them out",
            file=sys.stderr,
            flush=True,
        )


def _log(line: str) -> None:
    from dslocal.terminal.sanitise import sanitise

    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sanitise(line)}", file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    """For --quiet: tracebacks come all the same."""
    if line.startswith("Traceback"):
        _log(line)
