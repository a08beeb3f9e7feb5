"""``dslocal chat``: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.option_groups import EngineOptions, LoadOptions, NamedModel, with_option_groups
from dslocal.cli.options import Effort, FamilyFlag, MathFlag, Think
from dslocal.cli.parsing import ASK, RESUME, ModelOptionCommand
from dslocal.errors import NotFoundError, UsageError
from dslocal.files import stdin_is_terminal

if TYPE_CHECKING:
    from dslocal.chat import StoredConversation
    from dslocal.cli.engine_choice import EngineChoice

LAST = "last"  # the value of --resume where it stands alone


class ChatCommand(ModelOptionCommand):
    """Lets ``--resume`` stand alone.

    What follows it is its value only where it looks like a conversation's id.
    """

    with_model = ASK  # a model may stand first here, and a question may not follow

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``args`` after giving a lone ``--resume`` its value."""
        from dslocal.chat.stored_conversations import PART_OF_ID

        completed = []
        for number, arg in enumerate(args):
            following = args[number + 1] if number + 1 < len(args) else ""
            is_alone = arg == RESUME and not PART_OF_ID.fullmatch(following)
            completed.append(f"{RESUME}={LAST}" if is_alone else arg)
        return super().parse_args(ctx, completed)


@with_option_groups
def chat(
    *,
    model: NamedModel,
    system: Annotated[
        str,
        typer.Option(
            "-s",
            "--system",
            metavar="TEXT",
            help="The system prompt: instructions for the whole conversation.",
        ),
    ] = "",
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="Attach a text file to the first question. Repeatable.",
            show_default=False,
        ),
    ] = None,
    think: Think = None,
    effort: Effort = None,
    math: MathFlag = None,
    load: LoadOptions,
    engine: EngineOptions,
    family: FamilyFlag = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[ID]",
            help=(
                "Continue the last conversation, or the one with this ID of dslocal sessions. Its "
                "model is used unless another is named."
            ),
            show_default=False,
        ),
    ] = None,
) -> None:
    """Talk with a model in the terminal."""
    from dslocal.terminal.chat.keys import KeyReader

    _take_terminal()
    with ExitStack() as opened:
        with KeyReader() as keys:
            from dslocal import prompts
            from dslocal.chat import new_conversation, open_session
            from dslocal.cli import engine_choice, session_setup, user_settings
            from dslocal.cli.chatting import model_switch
            from dslocal.cli.chatting.introduction import introduction
            from dslocal.terminal.chat.loop import ChatLoop

            earlier = _find_earlier(resume)
            served_by = engine_choice.chosen_engine(engine)
            with _hint_at_conversations(resume == LAST and model.name is not None):
                choice = model_switch.choose_chat_model(
                    model.name or _earlier_model(earlier, served_by), family, served_by
                )
            settings = session_setup.settings_for(choice, choice.family.defaults, {})
            chosen, think = prompts.choose_effort(choice.family, effort, think)
            thinking = user_settings.chosen_thinking(choice.family, think).value
            session_setup.print_advice(choice.family, settings, thinking, system)
            files = [prompts.read_file(path) for path in file or []]
            switch = opened.enter_context(model_switch.ModelSwitch(load, choice, served_by))
            session = open_session(switch.load(choice), chosen, settings, system, thinking)
            conversation = new_conversation(_model_to_store(model.name, earlier))
            loop = ChatLoop(
                session, choice.name, conversation, files=files, math=math, model_switcher=switch
            )
            opened.callback(loop.close_conversation)
            switch.notify = loop.notify
            loop.introduction = introduction(choice)
            session_setup.note_greeting()
            if earlier:
                loop.resume_conversation(earlier)
                session.system = system or session.system
                session.thinking = session.thinking if think is None else thinking
                session.family = session.family if effort is None else chosen
        loop.press(keys.typed_keys)
        loop.run()


def _earlier_model(
    earlier: StoredConversation | None, served_by: EngineChoice | None
) -> str | None:
    """Return the model of the conversation that is resumed; an engine has models of its own."""
    return earlier.model if earlier and served_by is None else None


def _take_terminal() -> None:
    """Continue in a child process, which is there before :class:`KeyReader` starts a thread.

    Raises:
        UsageError: stdin or stdout is not a terminal.
    """
    from dslocal.cli import session_setup

    if not (stdin_is_terminal() and sys.stdout.isatty()):
        raise UsageError("chat needs a terminal", hint="dslocal ask needs none")
    session_setup.continue_in_child()


def _find_earlier(resume: str | None) -> StoredConversation | None:
    """Return the conversation to resume, if there is one.

    Raises:
        NotFoundError, UsageError: There is none like that, or several.
    """
    from dslocal.chat import find_conversation, last_conversation

    if resume is None:
        return None
    return last_conversation() if resume == LAST else find_conversation(resume)


@contextmanager
def _hint_at_conversations(may_mean_one: bool) -> Iterator[None]:
    """Add to the hint of a model that is not found, where its name may be a mistyped id."""
    try:
        yield
    except NotFoundError as e:
        if not may_mean_one:
            raise
        hint = f"{e.hint}; dslocal sessions lists the conversations that --resume takes"
        raise NotFoundError(str(e), hint=hint) from e


def _model_to_store(model: str | None, earlier: StoredConversation | None) -> str:
    """Return the name by which the conversation will find its model again."""
    from dslocal.catalog import resolve
    from dslocal.cli.user_settings import named_model

    named = named_model(model) or (earlier.model if earlier else None)
    if named:
        return resolve.lasting_name(named)
    return resolve.last_used_model() or resolve.DEFAULT
