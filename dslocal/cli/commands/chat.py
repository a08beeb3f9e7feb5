"""``dslocal chat``: a conversation in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

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

if TYPE_CHECKING:
    from dslocal.chat import StoredConversation

LAST = "last"


class ChatCommand(TyperCommand):
    """Lets ``--resume`` stand alone: what follows it is its value only where it looks like a
    conversation's id.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from dslocal.chat.storage import PART_OF_ID

        following = [*args[1:], ""][: len(args)]
        alone = [
            arg == "--resume" and not PART_OF_ID.fullmatch(after)
            for arg, after in zip(args, following, strict=True)
        ]
        return super().parse_args(
            ctx,
            [f"--resume={LAST}" if lone else arg for arg, lone in zip(args, alone, strict=True)],
        )


def chat(
    model: ModelArgument = None,
    system: Annotated[
        str,
        typer.Option("-s", "--system", help="Instructions that hold for the whole conversation."),
    ] = "",
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            help="Attach a text file to the first question. Repeatable.",
            show_default=False,
        ),
    ] = None,
    think: Think = None,
    math: MathFlag = None,
    ctx: Ctx = None,
    kv: Kv = None,
    n_gpu_layers: GpuLayers = None,
    cpu_moe: CpuMoe = None,
    mtp: Mtp = "auto",
    family: FamilyFlag = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[ID]",
            help="Go on with the last conversation, or with ID of dslocal sessions; with its model unless one is named.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Talk with a model in the terminal."""
    import sys

    from dslocal import prompts
    from dslocal.catalog import resolve
    from dslocal.chat import Session, new_conversation
    from dslocal.cli import model_switch, session_setup
    from dslocal.errors import UsageError
    from dslocal.terminal.chat.loop import ChatLoop

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("chat needs a terminal", hint="dslocal ask reads a question from stdin")
    earlier = _earlier(resume)
    choice = model_switch.choose(model or (earlier.model if earlier else None), family)
    settings = session_setup.settings_for(choice.family.defaults, {})
    thinking = session_setup.thinking_for(choice.family, think).value
    session_setup.advise(choice.family, settings, thinking, system)
    for path_given in file or []:
        prompts.read_text(path_given)  # or the error would come with the first question
    with model_switch.ModelSwitch(
        model_switch.Options(ctx, kv, n_gpu_layers, cpu_moe, mtp), choice
    ) as held:
        session = Session(held.load(choice), choice.family, settings, system, thinking)
        called = (
            session_setup.named_model(model)
            or (earlier.model if earlier else None)
            or resolve.last_used_model()
            or resolve.DEFAULT
        )
        loop = ChatLoop(
            session,
            choice.name,
            new_conversation(called),
            files=file or [],
            math=math,
            model_switcher=held,
        )
        if earlier:
            loop.resume_conversation(earlier)
            session.system = system or session.system
            session.thinking = session.thinking if think is None else thinking
        try:
            loop.run()
        finally:
            loop.close_conversation()


def _earlier(resume: str | None) -> StoredConversation | None:
    """The conversation that is asked for, if one is. Raises NotFoundError, UsageError."""
    from dslocal.chat import find_conversation, last_conversation

    if resume is None:
        return None
    return last_conversation() if resume == LAST else find_conversation(resume)
