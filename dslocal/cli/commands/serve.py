"""``dslocal serve``: the model over HTTP, in OpenAI's and DeepSeek's formats, for Open WebUI,
editors and scripts.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.option_groups import LoadOptions, NamedModel, with_option_groups
from dslocal.cli.options import Effort, FamilyFlag, MathFlag, Think
from dslocal.cli.serving.serve_options import ServeOptions
from dslocal.errors import DslocalError, UsageError

if TYPE_CHECKING:
    from dslocal import prompts
    from dslocal.cli.session_setup import ModelFile
    from dslocal.engine import LlamaContext
    from dslocal.server.access import AccessPolicy
    from dslocal.server.discovery import RunningServer
    from dslocal.server.preparation.requests import ServedModel

NEEDED_PACKAGES = ("starlette", "uvicorn", "pydantic", "prometheus_client", "greenlet")


@with_option_groups
def serve(
    *,
    model: NamedModel,
    options: ServeOptions,
    think: Think = None,
    effort: Effort = None,
    math: MathFlag = None,
    load: LoadOptions,
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
    _require_packages()
    from dslocal.cli import session_setup, user_settings
    from dslocal.cli.serving import messages
    from dslocal.cli.serving.api_access import access_policy
    from dslocal.cli.serving.slot_count import open_slots, with_slots
    from dslocal.server.discovery import announced, new_token

    _check_options(options, quiet=quiet, log_prompts=log_prompts)
    access = access_policy(options, new_token())
    file, think = _with_effort(session_setup.prepare_model(model.name, family), effort, think)
    thinking = user_settings.chosen_thinking(file.family, think).value
    _print_advice(file, thinking)

    from dslocal.server.app import Server
    from dslocal.server.metrics import Metrics
    from dslocal.server.process import bind_socket, run_server
    from dslocal.server.queue import RequestQueue

    with bind_socket(options.host, options.port) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        chosen = user_settings.load_overrides(file, load)
        chosen = with_slots(file.path, file.header, options.parallel, chosen)
        context = stack.enter_context(session_setup.open_context(file, chosen))
        slots = stack.enter_context(open_slots(context))
        served = _served_model(file, slots[0], _model_to_show(model.name), thinking, math)
        served = options.name_model(served)
        queue = RequestQueue(slots, options.queue)
        server = Server(served, queue, access, Metrics(queue), messages.log, log_prompts, not quiet)
        note = _discovery_note(file, context, served, options.host, port, access.own_token)
        stack.enter_context(announced(note))

        def on_ready() -> None:
            url = messages.base_url(options.host, port)
            messages.print_ready(served.name, url, len(slots), context.n_ctx)
            if open_webui:
                _print_open_webui(options, port, access, context)

        run_server(server, listener, grace_s=options.grace, on_ready=on_ready)
        queue.threads.shutdown()
    messages.print_stopped()


def _with_effort(
    file: ModelFile, effort: str | None, think: bool | None
) -> tuple[ModelFile, bool | None]:
    """Return ``file`` with the effort of requests that name none, and whether they reason."""
    from dslocal import prompts

    choice = prompts.choose_effort(file.family, effort, think)
    return replace(file, family=choice.family), choice.think


def _print_open_webui(
    options: ServeOptions, port: int, access: AccessPolicy, context: LlamaContext
) -> None:
    """Print how Open WebUI on this machine is connected to this server."""
    from dslocal.cli.serving import messages

    messages.print_open_webui(
        messages.base_url(messages.near_address(options.host), port),
        options.api_key,
        has_key=access.api_key is not None,
        n_ctx=context.n_ctx,
    )


def _print_advice(file: ModelFile, thinking: prompts.Thinking) -> None:
    """Print which of the vendor's recommendations the server's defaults break."""
    from dslocal.cli import session_setup, user_settings

    settings = user_settings.sampling_settings(file.family.defaults, {})
    session_setup.print_advice(file.family, settings, thinking, "")


def _check_options(options: ServeOptions, *, quiet: bool, log_prompts: bool) -> None:
    """Refuse what is out of range, and to write prompts into a log that is not written."""
    options.check_ranges()
    if quiet and log_prompts:
        raise UsageError("--quiet and --log-prompts exclude each other", hint="one of them")


def _require_packages() -> None:
    """Refuse to start without the extra ``server``."""
    missing = [name for name in NEEDED_PACKAGES if find_spec(name) is None]
    if missing:
        raise DslocalError(
            f"dslocal serve needs {', '.join(missing)}", hint="pip install 'dslocal[server]'"
        )


def _model_to_show(model: str | None) -> str:
    """Return the name that the model was asked for by."""
    from dslocal.catalog import resolve
    from dslocal.cli.user_settings import named_model

    return named_model(model) or resolve.last_used_model() or resolve.DEFAULT


def _served_model(
    file: ModelFile,
    context: LlamaContext,
    asked_for: str,
    thinking: prompts.Thinking,
    math: bool | None,
) -> ServedModel:
    """Return what all requests share.

    Args:
        file: The model's file.
        context: One of the contexts that generate.
        asked_for: The name that the model was asked for by.
        thinking: How answers begin where a request does not say.
        math: Whether the directive for mathematics is added.
    """
    from dslocal.cli.user_settings import sampling_settings
    from dslocal.gguf.header import fingerprint
    from dslocal.server.preparation.requests import ServedModel

    is_path = Path(asked_for).suffix == ".gguf" or os.sep in asked_for
    name = Path(asked_for).stem if is_path else asked_for
    names = (name, asked_for, file.path.stem, file.header.text("general.name"))
    family = file.family
    settings = sampling_settings(family.defaults, {})
    return ServedModel(
        context=context,
        family=family,
        settings=settings,
        fim_settings=sampling_settings(family.fim.defaults, {}) if family.fim else settings,
        thinking=thinking,
        name=name,
        names=frozenset(name for name in names if name),
        fingerprint=fingerprint(file.path),
        math=math,
    )


def _discovery_note(
    file: ModelFile,
    context: LlamaContext,
    served: ServedModel,
    host: str,
    port: int,
    token: str,
) -> RunningServer:
    """Return what other commands find of this server, which listens at ``host``."""
    from dslocal.cli.serving.messages import near_address
    from dslocal.server.discovery import RunningServer, short_metadata

    return RunningServer(
        pid=os.getpid(),
        host=near_address(host),
        port=port,
        name=served.name,
        path=str(file.path.resolve()),
        fingerprint=served.fingerprint,
        family=file.family.name,
        n_ctx=context.n_ctx,
        kv_type=context.kv_type,
        token=token,
        metadata=short_metadata(file.header),
        data_start=file.header.data_start,
    )
