"""Proves ``dslocal sessions``, what ``chat --resume`` may look like, and putting one model in
another's place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.engine.contexts import llama_context
from support.terminal.screen import Screen
from typer.main import get_command

from dslocal import home
from dslocal.catalog import resolve
from dslocal.chat import Session, StoredConversation, list_conversations, new_conversation
from dslocal.cli import session_setup
from dslocal.cli.chatting import model_switch
from dslocal.cli.main import app
from dslocal.cli.option_groups import LoadOptions
from dslocal.errors import DslocalError, NotFoundError, OutOfMemoryError, UsageError
from dslocal.plan.overrides import NO_OVERRIDES
from dslocal.prompts import Message, Thinking


@pytest.fixture
def own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A home of its own, with nano converted."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    return Run(tmp_path)


def kept(model: str, *turns: tuple[str, str]) -> StoredConversation:
    saved = new_conversation(model)
    saved.save(
        [
            message
            for asked, answered in turns
            for message in (Message("user", asked), Message("assistant", answered, "hm"))
        ]
    )
    saved.close()
    return saved


def test_nothing(own: Run) -> None:
    """Proves the words and the JSON for no conversation."""
    assert own.inside("sessions").stdout == b"no chat is kept yet: dslocal chat starts one\n"
    assert own.inside("sessions", "--search", "x").stdout == b"no chat has 'x' in it\n"
    assert json.loads(own.inside("sessions", "--json").stdout) == []


def test_listed_searched_and_deleted(own: Run) -> None:
    """Proves what is listed, in any case found, as JSON, and deleted; and that nothing in it acts
    on the terminal.
    """
    first = kept(
        "nano", ("Why is the sky\nBLUE?", "Rayleigh."), ("And red?", "Sunset \x1b[2J\u202e\x9b31m")
    )
    second = kept("/models/\x1b]0;x\x07r1.gguf", ("Hello \x1b[2J", "Hi"))
    lines = own.inside("sessions").stdout.decode().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted([first.id, second.id])
    (line,) = (line for line in lines if first.id in line)
    assert line.split()[3:5] == ["nano", "2"]
    assert line.endswith("Why is the sky BLUE?")
    assert not set("\x1b\x07\x9b\u202e") & set("".join(lines))

    found = own.inside("sessions", "--search", "blue").stdout.decode().splitlines()
    assert [line.strip() for line in found[1:]] == ["BLUE?"]
    assert "Sunset [2J31m" in own.inside("sessions", "--search", "SUNSET").stdout.decode()
    assert len(json.loads(own.inside("sessions", "--search", "hm", "--json").stdout)) == 2
    (fields,) = json.loads(own.inside("sessions", "--search", "rayleigh", "--json").stdout)
    assert fields == {
        "id": first.id,
        "model": "nano",
        "began": first.began,
        "last": first.file.stat().st_mtime,
        "turns": 2,
        "question": "Why is the sky\nBLUE?",
        "match": "Rayleigh.",
    }

    first.cache_file.write_bytes(b"kv")
    assert own.inside("sessions", "rm", first.id[-4:]).stdout == f"{first.id} deleted\n".encode()
    assert not list(first.file.parent.glob(f"{first.id}*"))
    gone = own.inside("sessions", "rm", first.id)
    assert (gone.returncode, gone.stdout) == (3, b"")
    assert (
        gone.stderr
        == f"dslocal: no conversation called '{first.id}' (dslocal sessions lists them)\n".encode()
    )
    assert second.lock()
    held = own.inside("sessions", "rm", second.id)
    second.close()
    assert (held.returncode, second.file.exists()) == (1, True)
    assert b"is open in another terminal (exit that chat first)" in held.stderr


ID = "20260102-030405-abcd"
RESUMED = [
    ([], None, None),
    (["nano"], "nano", None),
    (["--resume"], None, "last"),
    (["nano", "--resume"], "nano", "last"),
    (["--resume", "nano"], "nano", "last"),
    (["--resume", ID], None, ID),
    (["--resume", ID, "nano"], "nano", ID),
    (["nano", "--resume", ID], "nano", ID),
    (["--resume", "20260102"], None, "20260102"),
    (["--resume", "abcd"], None, "abcd"),
    ([f"--resume={ID}", "nano"], "nano", ID),
    (["--resume", "--ctx", "1024"], None, "last"),
    (["--ctx", "1024", "--resume"], None, "last"),
    (["-s", "x", "--resume", "--no-think"], None, "last"),
]


@pytest.mark.parametrize(
    ("args", "model", "resume"), RESUMED, ids=[" ".join(args) or "none" for args, _, _ in RESUMED]
)
def test_resume_with_and_without_an_id(
    args: list[str], model: str | None, resume: str | None
) -> None:
    """Proves that --resume takes an id where one follows, and leaves a model alone."""
    command = get_command(app).commands["chat"]  # type: ignore[attr-defined]
    given = command.make_context("chat", list(args)).params
    assert (given["model"], given["resume"]) == (model, resume)


@pytest.fixture
def held(own: Run, nano: Path) -> Iterator[tuple[model_switch.ModelSwitch, Session]]:
    choice = model_switch.choose_chat_model("nano")
    with model_switch.ModelSwitch(LoadOptions(ctx=1024), choice) as held:
        session = Session(
            held.load(choice),
            choice.family,
            choice.family.defaults.with_value("temperature", 0, "/set"),
        )
        yield held, session


def ask(session: Session, text: str) -> str:
    list(session.stream(text, 1))
    return session.history[-1].content


def test_another_model(
    held: tuple[model_switch.ModelSwitch, Session], nano: Path, tmp_path: Path
) -> None:
    """Proves that the other is loaded as the first was, prompted by its own rules, with what was
    set kept and the history shown.
    """
    holder, session = held
    assert "4042" in ask(session, "What is 47 × 86?")
    copy = tmp_path / "other.gguf"
    copy.hardlink_to(nano.resolve())
    old, said = session.context, list[str]()
    assert holder.switch(session, str(copy), said.append) == "other"
    assert session.context is not old
    assert session.context.model.path == copy
    assert session.context.n_ctx == 1024
    assert llama_context(old).handle is None
    assert session.settings.temperature.value == 0
    assert any("temperature 0:" in line for line in said)
    assert session.thinking is Thinking.FORCED
    assert "4047" in ask(session, "Now add 5 to that.")
    assert resolve.last_used_model() == str(copy)


def test_biases_that_another_model_lacks(
    held: tuple[model_switch.ModelSwitch, Session],
    tmp_path: Path,
    nano: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proves that /set's are left out and named, and config's are refused before anything loads."""
    holder, session = held
    copy = tmp_path / "other.gguf"
    copy.hardlink_to(nano.resolve())
    session.settings = session.settings.with_value("logit_bias", "4096=1", "/set")
    before = session.context
    with monkeypatch.context() as patch:
        patch.setenv("DSLOCAL_LOGIT_BIAS", "5000=1")
        with pytest.raises(UsageError, match="token 5000 does not exist"):
            holder.switch(session, str(copy), print)
    assert session.context is before
    said = list[str]()
    holder.switch(session, str(copy), said.append)
    assert any("token 4096 does not exist" in line for line in said)
    assert session.settings.logit_bias.value == ()
    assert session.settings.temperature.value == 0
    assert "4042" in ask(session, "What is 47 × 86?")


def test_a_model_that_cannot_be_had(
    held: tuple[model_switch.ModelSwitch, Session],
    tmp_path: Path,
    nano: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proves that the old one goes on, whether the new one is not found, damaged, or fails while it
    loads; and that it stays the last.
    """
    holder, session = held
    ask(session, "What is 47 × 86?")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(nano.read_bytes()[:50_000])
    copy = tmp_path / "copy.gguf"
    copy.hardlink_to(nano.resolve())
    load = session_setup.load_model

    def failing(path: Path, *args: object, **named: object) -> object:
        if path == copy:
            raise OutOfMemoryError("no memory at all")
        return load(path, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(session_setup, "load_model", failing)
    for name, error in (
        ("nothing", NotFoundError),
        (str(damaged), DslocalError),
        (str(copy), OutOfMemoryError),
    ):
        with pytest.raises(error):
            holder.switch(session, name, print)
        assert session.context.model.path.samefile(nano)
        assert resolve.last_used_model() == "nano"
    assert "4047" in ask(session, "Now add 5 to that.")
    assert home.read_state(resolve.LAST) == {"model": "nano"}


def test_a_model_that_fails_while_loading_is_not_remembered(
    own: Run, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the one used last is one that could be used."""

    def failing(*_: object, **__: object) -> object:
        raise OutOfMemoryError("no memory at all")

    monkeypatch.setattr(session_setup, "load_model", failing)
    file = session_setup.prepare_model(str(nano))
    with pytest.raises(OutOfMemoryError), session_setup.open_context(file, NO_OVERRIDES):
        pass
    assert resolve.last_used_model() is None


@pytest.mark.parametrize(("answer", "is_deleted"), [("n", False), ("y", True)])
def test_rm_asks_on_a_terminal(own: Run, answer: str, is_deleted: bool) -> None:
    saved = new_conversation("nano")
    saved.save([Message("user", "a question"), Message("assistant", "an answer")])
    saved.close()
    with Screen([str(BINARY), "sessions", "rm", saved.id], own.env()) as screen:
        screen.wait_for("Delete this chat?")
        screen.press(f"{answer}\r")
        screen.wait_for(f"{saved.id} deleted" if is_deleted else "nothing was deleted")
    assert bool(list_conversations()) is not is_deleted
