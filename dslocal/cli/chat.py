"""``dslocal chat``: a conversation in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import CpuMoe, Ctx, FamilyFlag, GpuLayers, Kv, MathFlag, ModelArgument, Mtp, Think


def chat(
    model: ModelArgument = None,
    system: Annotated[str, typer.Option("-s", "--system", help="Instructions that hold for the whole conversation.")] = "",
    file: Annotated[
        list[Path] | None, typer.Option("-f", "--file", help="Attach a text file to the first question. Repeatable.", show_default=False)
    ] = None,
    think: Think = None,
    math: MathFlag = None,
    ctx: Ctx = None,
    kv: Kv = None,
    n_gpu_layers: GpuLayers = None,
    cpu_moe: CpuMoe = None,
    mtp: Mtp = "auto",
    family: FamilyFlag = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last conversation, with its model unless one is named.")] = False,
) -> None:
    """Talk with a model in the terminal."""
    import sys

    from .. import chat as conversation
    from .. import models
    from ..errors import UsageError
    from ..ui.chat import ChatLoop
    from . import runtime
    from .resumed import kept

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("chat needs a terminal", hint="dslocal ask reads a question from stdin")
    saved = conversation.last_saved() if resume else None
    path, header, spoken = runtime.prepare(model or (saved.model if saved else None), family)
    if spoken.completes:
        raise UsageError(
            f"{header.text('general.name') or path.name} is a base model: it goes on with a text and cannot chat",
            hint='dslocal ask "Once upon a time" goes on; the chat or instruct variant talks',
        )
    settings = runtime.settings_for(spoken.defaults, {})
    pins = runtime.pins_for(header, ctx, kv, n_gpu_layers, cpu_moe, mtp)
    thinking = runtime.thinking_for(spoken, think).value
    runtime.advise(spoken, settings, thinking, system)
    for path_given in file or []:
        conversation.read_text(path_given)  # or the error would come with the first question
    name = header.text("general.name") or path.stem
    with runtime.running(path, header, pins) as context:
        session = conversation.Session(context, spoken, settings, system, thinking)
        resumed = saved is not None
        saved = saved or conversation.new_saved(runtime.named_model(model) or models.last_used() or models.DEFAULT)
        with kept(session, saved, resumed=resumed, thinking_given=think is not None):
            ChatLoop(session, name, saved, files=file or [], math=math).run()
