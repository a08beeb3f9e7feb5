"""``dslocal serve``: serve models over HTTP for agents, editors and scripts, with a chat page."""

from __future__ import annotations

import os
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.option_groups import EngineOptions, LoadOptions, with_option_groups
from dslocal.cli.options import Effort, FamilyFlag, MathFlag, Think
from dslocal.cli.serving.serve_options import ServedNames, ServeOptions
from dslocal.errors import DslocalError, UsageError

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.server.access import AccessPolicy

NEEDED_PACKAGES = ("starlette", "uvicorn", "pydantic", "prometheus_client", "greenlet")


@with_option_groups
def serve(
    *,
    models: ServedNames,
    options: ServeOptions,
    think: Think = None,
    effort: Effort = None,
    math: MathFlag = None,
    load: LoadOptions,
    engine: EngineOptions,
    family: FamilyFlag = None,
    open_webui: Annotated[
        bool,
        typer.Option(
            "--open-webui", help="Print the settings that connect Open WebUI, then serve."
        ),
    ] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the chat page in the browser.")
    ] = False,
    log_prompts: Annotated[
        bool, typer.Option("--log-prompts", help="Also write prompts and answers to the log.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not log each request.")] = False,
) -> None:
    """Serve models over HTTP: APIs of OpenAI, Anthropic and Ollama."""
    _require_packages()
    _check_options(options, quiet=quiet, log_prompts=log_prompts)
    from dslocal.cli.serving import messages, offered_models
    from dslocal.cli.serving.api_access import access_policy
    from dslocal.cli.serving.left_out_models import LeftOutModels
    from dslocal.server.discovery import new_token

    access = access_policy(options, new_token())
    left_out = LeftOutModels(is_allowed=models.all_models)
    files = offered_models.find_models(models.names(), family, engine, left_out)

    from dslocal.server.app import Server
    from dslocal.server.metrics import Metrics
    from dslocal.server.process import bind_socket, run_server

    with bind_socket(options.host, options.port) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        answers = offered_models.AnswerDefaults(think, effort, math)
        address = offered_models.ServerAddress(options.host, port, access.own_token)
        offers = offered_models.ModelOffers(options, load, answers, address)
        served = offers.offer_all(files, left_out)
        stack.callback(served.close)
        first = served.load_first()
        server = Server(served, access, Metrics(served), messages.log, log_prompts, not quiet)

        def on_ready() -> None:
            messages.print_ready(served, first, messages.base_url(options.host, port))
            if open_webui:
                _print_open_webui(options, port, access, first.slots[0])
            _show_page(messages.page_url(options.host, port), is_to_open=open_)

        run_server(server, listener, grace_s=options.grace, on_ready=on_ready)
    messages.print_stopped()


def _print_open_webui(
    options: ServeOptions, port: int, access: AccessPolicy, context: EngineContext
) -> None:
    """Print how Open WebUI on this machine is connected to this server."""
    from dslocal.cli.serving import messages

    messages.print_open_webui(
        messages.base_url(messages.near_address(options.host), port),
        options.api_key,
        has_key=access.api_key is not None,
        n_ctx=context.n_ctx,
    )


def _show_page(url: str, *, is_to_open: bool) -> None:
    """Say where the chat page is, and open it in the browser if that was asked for."""
    from dslocal.cli.serving import browser, messages

    no_browser = browser.why_no_browser(os.environ) if is_to_open else None
    messages.print_page(url, no_browser)
    if is_to_open and no_browser is None:
        browser.open_in_background(url)


def _check_options(options: ServeOptions, *, quiet: bool, log_prompts: bool) -> None:
    """Refuse what is out of range, and to write prompts into a log that is not written."""
    from dslocal.cli.user_settings import disk_cache_bytes

    options.check_ranges()
    disk_cache_bytes(options.disk_cache)
    if quiet and log_prompts:
        raise UsageError("--quiet and --log-prompts cannot be combined", hint="use one of them")


def _require_packages() -> None:
    """Refuse to start without the extra ``server``."""
    missing = [name for name in NEEDED_PACKAGES if find_spec(name) is None]
    if missing:
        raise DslocalError(
            f"dslocal serve needs {', '.join(missing)}", hint="pip install 'dslocal[server]'"
        )
