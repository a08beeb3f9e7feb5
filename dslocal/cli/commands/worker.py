"""``dslocal worker``: lend this machine's memory to a model on another machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal.rpc.endpoint import Endpoint
    from dslocal.rpc.worker import RpcServer

MAX_THREADS = 1024
DEFAULT_PORT = 50052  # llama.cpp's own


def worker(
    *,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Listen at this address of this machine, in a private network.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", help="Listen at this port; the port after it is used too."
        ),
    ] = DEFAULT_PORT,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            help="CPU threads. [the cores of this machine]",
            show_default=False,
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Allow an address that the internet can reach.")
    ] = False,
) -> None:
    """Lend this machine's memory to a model on another machine.

    The connection is not encrypted, and anyone who reaches the port can use the worker and crash
    it: use it only in a network that you trust. It runs until Ctrl-C.
    """
    from dslocal.cli import session_setup, supervisor
    from dslocal.rpc.endpoint import MAX_PORT, Endpoint
    from dslocal.rpc.huge_pages import restart_with_huge_pages
    from dslocal.rpc.library import require_library
    from dslocal.rpc.worker import checked_address, private_addresses

    if host is None:
        own = private_addresses()
        raise UsageError(
            "--host is missing",
            hint=" or ".join(f"--host {address}" for address in own)
            or "give an address of this machine",
        )
    if not 0 < port <= MAX_PORT:
        raise UsageError(f"--port: {port} is out of range", hint=f"1 to {MAX_PORT}")
    if threads is not None and not 0 < threads <= MAX_THREADS:
        raise UsageError(f"--threads: {threads} is out of range", hint=f"1 to {MAX_THREADS}")
    address = checked_address(host, public=public)
    require_library()
    restart_with_huge_pages()
    session_setup.continue_in_child()
    endpoint = Endpoint(address, port)
    supervisor.set_subject(f"worker {endpoint}")
    _run(_started(endpoint, threads))


def _started(endpoint: Endpoint, threads: int | None) -> RpcServer:
    """Return a worker that listens."""
    from dslocal.api.planning.machines import machine_and_rates
    from dslocal.engine import llama_log
    from dslocal.plan.machine.probe import usable_cores
    from dslocal.rpc.worker import RpcServer

    machine, rates = machine_and_rates()
    llama_log.capture()
    started = RpcServer(endpoint, machine, rates, threads or usable_cores())
    started.start()
    return started


def _run(worker: RpcServer) -> None:
    """Print what the worker is, and answer until a signal ends it."""
    from dslocal.files import binary_size
    from dslocal.terminal.sanitise import one_line

    def say(line: str) -> None:
        print(f"dslocal: {one_line(line)}", file=sys.stderr, flush=True)

    card = worker.card()
    say(f"worker at {worker.endpoint}: {card.identity}")
    for device in card.devices:
        say(f"{device.name}: {binary_size(device.free)} free of {binary_size(device.total)}")
    say(
        "there is no encryption and no key: use it only in a network that you trust (Ctrl-C ends "
        "it)"
    )
    say(f"on the machine with the model: dslocal ask --rpc {worker.endpoint}")
    worker.answer_until_stopped(say)
