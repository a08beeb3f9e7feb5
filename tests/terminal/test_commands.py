"""Proves every slash command of the chat on the real nano: what it says, what it changes, and its
errors.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from rich.console import ConsoleDimensions
from support.chat.chat_loop import Loop

from dslocal.chat import (
    StoredConversation,
    list_conversations,
    load_conversation,
    new_conversation,
)
from dslocal.errors import DslocalError
from dslocal.prompts import Message, Thinking, ToolCall
from dslocal.terminal import clipboard
from dslocal.terminal.chat.answer_presenter import shortened
from dslocal.terminal.chat.commands.command_table import (
    COMMANDS,
    bare_command,
    shell_hint,
    suggestions_for,
)
from dslocal.types import StreamingUse

ROWS_FOR_HELP = 24 - 3  # on a screen of 24: with what was typed, the next line and the toolbar
QUESTION, ANSWER = "What is 47 × 86?", "4042"

# what is typed where nothing has been asked, what is said
SAID = [
    ("/nope", "/nope: no such command (/help lists the commands)"),
    ("/", "/: no such command (/help lists the commands)"),
    ("/s", "/s: no such command (did you mean /system or /save or /sessions or /set or /stats?)"),
    ("/und", "/undo: the conversation has no turn to take back"),
    ("/help", "Ctrl-R: search"),
    ("/think", "no reasoning to show"),
    ("/think maybe", "/think maybe: on, off, or nothing"),
    ("/think off", "thinking bypassed: its model card recommends"),
    ("/think on", "thinking on"),
    ("/stats", "nothing has been asked yet"),
    ("/retry", "/retry: nothing has been asked yet"),
    ("/edit", "/edit: nothing has been asked yet"),
    ("/undo", "/undo: the conversation has no turn to take back"),
    ("/history", "/history: the conversation has no answer yet"),
    ("/continue", "nothing has been asked yet (an answer that was cut can be continued)"),
    ("/copy", "/copy: the conversation has no answer yet"),
    ("/save", "/save: which file?"),
    ("/save a.md", "/save: the conversation is empty"),
    ("/save a b", "/save: give one file; quote its name if it has spaces"),
    ("/save it's", "/save: No closing quotation"),
    ("/sessions", "no conversation is kept yet"),
    ("/sessions moon", "no conversation has 'moon' in it"),
    ("/resume", "/resume: no other conversation is kept (/sessions lists the conversations)"),
    (
        "/resume 20010101-000000-abcd",
        "no conversation called '20010101-000000-abcd' (dslocal sessions lists them)",
    ),
    ("/resume ../../x", "no conversation called '../../x'"),
    (
        "/set",
        "temperature 0, top_p 0.95,"
        " max_tokens 32768 (the context ends an answer before: 2,048), math auto",
    ),
    ("/set top-p 2", "/set: 2 is out of range (top_p is above 0, at most 1)"),
    ("/set system Be brief.", "/set: system is set by /system TEXT"),
    ("/set nothink", "/set: nothink is set by /think off"),
    ("/set parameter seed 1", "/set: parameter is set by /set NAME VALUE"),
    ("/set colour blue", "/set: unknown setting 'colour'"),
    ("/set temprature 1", "/set: unknown setting 'temprature' (perhaps temperature; known: "),
    ("/set maths", "'maths' (perhaps math; known: "),
    ("/set x", "top_k, top_p, math)"),
    ("help", "/model [NAME]"),
    ("?", "/model [NAME]"),
    ("/?", "/model [NAME]"),
    ("/sesions", "/sesions: no such command (did you mean /sessions?)"),
    ("/new", "history cleared"),
    ("/list", "here: nano, other"),
    ("pull deepseek-r1:7b", "type /exit, then dslocal pull deepseek-r1:7b"),
    ("/pull x", "type /exit, then dslocal pull x"),
    ("dslocal fit", "type /exit, then dslocal fit"),
    ("dslocal", "type /exit, then dslocal"),
    ("run deepseek-r1:7b", "type /exit, then dslocal chat deepseek-r1:7b"),
    ("/set colour", "/set: unknown setting 'colour'"),
    ("/set top_k 40", "top_k 40"),
    ("/set logit_bias 4096=1", "/set: token 4096 does not exist: the vocabulary has 4,096 tokens"),
    ("/set logit_bias 1=-100,279=-100", 'several entries are a JSON list: ["1=-100", "279=-100"]'),
    ("/set math maybe", "/set math maybe: auto, on, off"),
    ("/set math off", "math off"),
    ("/set temperature 2", "model card recommends 0.5 to 0.7"),
    ("/file", "/file: which file?"),
    ("/file none", "no file is attached to the next question"),
    ("/resume /proc/version/x", "no conversation called '/proc/version/x'"),
    ("/file /no/such", "/no/such: no such file"),
    ("/file it's.txt", "/file: No closing quotation"),
    ("/file ~nobody-at-all/x", "/file: Could not determine home directory"),
    ("/file /", "/: is a directory (name the files in it)"),
    ("/system Be brief.", "instructions set"),
    ("/system", "no instructions (/system TEXT gives some)"),
    ("/system none", "no instructions"),
    ("/model", "here: nano, other; dslocal pull gets others"),
    ("/model nothing", "no model or file called 'nothing' (here: nano, other)"),
    ("/model other", "loaded now other, nano, in DeepSeek-R1's format: 2,048"),
    ("/clear", "history cleared"),
    ("/clear all", "/clear all: nothing can follow /clear"),
    ("/undo 3", "/undo 3: nothing can follow /undo"),
    ("/retry please", "/retry please: nothing can follow /retry"),
    ("/exit now", "/exit now: nothing can follow /exit"),
    ("/nope\x1b[2J\x9b31m\u202e", "/nope[2J31m: no such command"),
]


@pytest.mark.parametrize(("typed", "said"), SAID, ids=[typed for typed, _ in SAID])
def test_what_is_said(loop: Loop, typed: str, said: str) -> None:
    """Proves the words, that nothing acts on the terminal, and that an error leaves no file
    behind.
    """
    shown = loop.said(typed)
    assert said in shown
    assert not set("\x1b\x9b\u202e") & set(shown)
    assert not list(Path().glob("*.md"))


def test_instructions_are_shown_and_removed(loop: Loop) -> None:
    loop.said("/system Be\x1b[31m brief.")
    assert "Be[31m brief. /system none removes these" in loop.said("/system")
    assert loop.session.system == "Be\x1b[31m brief."
    assert "no instructions" in loop.said("/system none")
    assert loop.session.system == ""


@pytest.mark.parametrize(
    ("path", "why"), [("file/x.md", "Not a directory"), (f"{'x' * 300}.md", "File name too long")]
)
def test_a_conversation_is_saved_nowhere(loop: Loop, path: str, why: str) -> None:
    """Proves that a path that cannot be written to does not end the chat."""
    Path("file").touch()
    loop.said(QUESTION)
    said = loop.said(f"/save {path}").replace(" ", "")  # a long name is broken
    assert f"{path}: cannot be written: {why}".replace(" ", "") in said
    assert {path.name for path in Path().iterdir()} == {"home", "file"}


def test_an_error_of_the_disk_does_not_end_the_chat(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "other.gguf")

    monkeypatch.setattr(loop.model_switcher, "switch", fail)
    assert "other.gguf: Input/output error" in loop.said("/model other")


def test_a_refused_bias_leaves_the_old_one_and_the_next_question_is_answered(loop: Loop) -> None:
    loop.said("/set logit_bias 5=1")
    loop.said("/set logit_bias 4096=1")
    assert 'logit_bias ["5=1"]' in loop.said("/set")
    assert ANSWER in loop.said(QUESTION)


@pytest.mark.parametrize("typed", ["exit", "quit", "Quit", ":q", "/quit", "/bye", "/q", "/exit"])
def test_words_that_leave(loop: Loop, typed: str) -> None:
    with pytest.raises(EOFError):
        loop.handle_line(typed)


@pytest.mark.parametrize(
    "question", ["pull yourself together", "show me the way", "exit the house?", "run it", "bye"]
)
def test_questions_stay_questions(question: str) -> None:
    assert bare_command(question) is None
    assert shell_hint(question) is None


def test_the_directive_is_said_once(loop: Loop) -> None:
    assert "the vendor's request for a boxed answer was added" in loop.said(QUESTION)
    assert "the vendor's request for a boxed answer was added" not in loop.said(QUESTION)


def test_saved_files_are_fenced_and_the_directive_is_left_out(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("```\n# not a title\n```\n")
    loop.said("/file a.md")
    loop.said(QUESTION)
    loop.said("/save saved.md")
    saved = (tmp_path / "saved.md").read_text("utf-8")
    assert f"File a.md:\n\n````\n```\n# not a title\n```\n````\n\n{QUESTION}\n" in saved
    assert "\\boxed{}" not in saved
    assert "file content" not in saved


def test_the_last_exchange_is_shown_when_resumed(loop: Loop) -> None:
    loop.said(QUESTION)
    first = loop.conversation
    loop.said("/clear")
    shown = loop.said(f"/resume {first.id}")
    assert f"› {QUESTION}" in shown
    assert ANSWER in shown
    assert "earlier question" not in shown
    assert loop.said("/history").startswith(f"› {QUESTION} reasoned for ")


def resumed(loop: Loop, history: list[Message]) -> list[str]:
    """The lines that are shown when a conversation is resumed, on a screen of 80 by 24."""
    loop.console.size = ConsoleDimensions(80, 24)
    stored = new_conversation("nano")
    stored.save(history)
    stored.close()
    loop.said(f"/resume {stored.id}")
    return loop.words.getvalue().splitlines()


def exchange(number: int, answer: str = "") -> list[Message]:
    text = answer or f"**answer** {number}"
    return [
        Message("user", f"question {number}"),
        Message("assistant", text, reasoning="hm, hm", reasoning_s=1.5),
    ]


def test_the_last_exchanges_are_shown_as_they_were_and_the_rest_on_request(loop: Loop) -> None:
    """Proves that they are rendered, that they fit on a screen, and how the others are seen."""
    shown = resumed(loop, [message for number in range(30) for message in exchange(number)])
    assert len(shown) <= 24 - 2 - 4  # with an input line, a toolbar and an introduction
    asked = [line for line in shown if line.startswith("› ")]
    assert asked == [f"› question {number}" for number in range(30 - len(asked), 30)]
    assert len(asked) >= 3
    assert f"{30 - len(asked)} earlier questions: /history shows all" in shown
    assert shown.count("reasoned for 1.5 s") == shown.count("answer 29") * len(asked)
    assert "hm, hm" not in "".join(shown)
    assert [loop.said("/history").count(f"› question {n} ") for n in range(30)] == [1] * 30
    assert loop.said("/history 2").split()[1:3] == ["question", "28"]
    for wrong in ("0", "-1", "two", "9" * 5000):
        assert "how many questions, or nothing for all" in loop.said(f"/history {wrong}")


def test_an_exchange_that_is_longer_than_the_screen_is_shown_at_its_end(loop: Loop) -> None:
    code = "\n".join(f"line {number}" for number in range(80))
    shown = resumed(loop, [*exchange(1), *exchange(2, f"```\n{code}\n```")])
    assert "› question 2" in shown
    assert "› question 1" not in shown
    assert "1 earlier question: /history shows all" in shown
    assert any("line 79" in line for line in shown)
    assert len(shown) < 24
    assert "line 0 " in loop.said("/history")


def test_a_conversation_that_is_resumed_writes_no_escapes(loop: Loop) -> None:
    """Proves that questions, answers and names of tools are cleaned, and calls are named."""
    evil = "\x1b[2Jx\x07"
    call = ToolCall(f"get{evil}", "{}")
    answer = Message("assistant", f"{evil}\n\n{evil}", calls=(call,))
    resumed(loop, [Message("user", evil), answer])
    for line in ("/history", ""):
        loop.said(line)
        assert "\x1b[2J" not in loop.words.getvalue()
        assert "\x07" not in loop.words.getvalue()
    assert "(calls get" in loop.said("/history")


LONG = "\n".join(f"line {number}" for number in range(100))


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("short", "short", "short"),
        (LONG, "…\n\nline 84", "line 99"),
        (f"```py\n{LONG}\n```", "```\nline 85", "```"),
        ("x" * 5000, "…\n\nxxx", "xxx"),
    ],
)
def test_a_long_answer_is_shortened(text: str, begins: str, ends: str) -> None:
    shown = shortened(text)
    assert shown.startswith(begins)
    assert shown.endswith(ends)
    assert len(shown) <= 1510


def test_all_commands_are_in_the_help(loop: Loop) -> None:
    """Proves that what CHAT.md promises is there, each with a line of help that fits."""
    promised = {
        "help",
        "model",
        "system",
        "file",
        "clear",
        "retry",
        "edit",
        "continue",
        "copy",
        "save",
        "sessions",
        "resume",
    }
    promised |= {"think", "set", "stats", "exit", "history"}
    shown = loop.said("/help")
    assert promised <= set(COMMANDS)
    assert all(f"{command.usage} {command.help}" in shown for command in COMMANDS.values())
    lines = loop.words.getvalue().splitlines()
    assert len(lines) <= ROWS_FOR_HELP
    assert all(len(line) <= 80 for line in lines)
    assert all(len(command.help) < 80 and len(command.usage) <= 24 for command in COMMANDS.values())


def test_the_last_turn(loop: Loop) -> None:
    """Proves retry, edit, undo, think and stats, and what is on disk after each."""
    assert ANSWER in loop.said(QUESTION)
    session, first = loop.session, loop.conversation
    assert session.history[0].typed == QUESTION
    assert "\\boxed" in session.history[0].content
    assert load_conversation(first.file).history == session.history
    assert "multiply" in loop.said("/think")
    seed = session.turn.seed if session.turn else 0

    assert ANSWER in loop.said("/retry")
    assert session.turn is not None
    assert session.turn.seed != seed
    assert (
        session.turn.cached_tokens == session.turn.prompt_tokens - 1
    )  # the branches share their beginning
    assert len(session.history) == 2
    shown = loop.said("/stats")
    assert f"({session.turn.cached_tokens:,} cached)" in shown
    assert "KV cache f16" in shown
    assert "MiB of memory" in shown
    assert "experts" not in shown
    assert session.turn.timings is not None
    session.turn.timings.streaming = StreamingUse(tokens=2, needed_bytes=9_000_000)
    assert "each token needed 4.5 MB of experts, and read 0.0 MB" in loop.said("/stats")

    assert "4047" in loop.said("Now add 5 to that.")
    assert "edit the question" in loop.said("/edit")
    assert (loop.draft, loop.editing) == ("Now add 5 to that.", session.history[2])
    assert "editing the last question" in loop.toolbar(200)
    assert "4052" in loop.said("Now add 10 to that.")
    assert [message.typed for message in session.history if message.role == "user"] == [
        QUESTION,
        "Now add 10 to that.",
    ]
    assert load_conversation(first.file).history == session.history
    assert "the last answer is whole (an answer that was cut" in loop.said("/continue")
    assert "taken back: Now add 10 to that." in loop.said("/undo")
    assert len(session.history) == len(load_conversation(first.file).history) == 2


def test_what_becomes_of_an_answer(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that it is written into a file, never over one unasked, and copied as the model wrote
    it.
    """
    loop.said(QUESTION)
    session = loop.session
    assert "conversation.md: 1 question written" in loop.said("/save conversation.md")
    text = Path("conversation.md").read_text()
    assert "\\boxed{4042}" in text
    assert "<details>\n<summary>Reasoning</summary>" in text
    assert "exists already (/save conversation.md! replaces it)" in loop.said(
        "/save conversation.md"
    )
    assert "written" in loop.said("/save conversation.md!")
    assert "cannot be written" in loop.said("/save /no/such/folder/x.md")

    copied: list[str] = []

    def copy(text: str, _: object) -> str:
        copied.append(text)
        return "by hand"

    monkeypatch.setattr(clipboard, "copy", copy)
    assert "the last answer copied" in loop.said("/copy")
    assert "its reasoning copied" in loop.said("/copy reasoning")
    assert copied == [session.history[-1].content, session.history[-1].reasoning]
    assert "the last answer has no code" in loop.said("/copy code")
    assert "/copy all: code, reasoning, or nothing" in loop.said("/copy all")


def test_conversations(loop: Loop) -> None:
    """Proves that they are left, listed, searched and resumed."""
    loop.said(QUESTION)
    session, first = loop.session, loop.conversation
    assert "is this conversation" in loop.said(f"/resume {first.id}")
    assert f"/resume {first.id} brings it back" in loop.said("/clear")
    assert session.history == []
    assert "Lima" in loop.said("capital of peru")
    assert first.id in loop.said("/sessions")
    assert loop.conversation.id in loop.said("/sessions LIMA")
    assert first.id not in loop.said("/sessions LIMA")
    assert "continuing the conversation of" in loop.said(f"/resume {first.id[-4:]}")
    assert (loop.conversation.id, session.history) == (
        first.id,
        load_conversation(first.file).history,
    )
    assert "4047" in loop.said("Now add 5 to that.")
    lima = next(saved for saved in list_conversations() if saved.id != first.id)
    for before in (lima, first):  # alone, from one to the other
        assert "continuing the conversation of" in loop.said("/resume")
        assert loop.conversation.id == before.id


def test_leaving_says_how_to_continue(loop: Loop) -> None:
    """Proves that it is one line, that it names the conversation where another is the last, and
    that there is none where nothing was asked.
    """

    def last_lines() -> list[str]:
        loop.said()
        loop.run()  # the input is at its end
        return [line for line in loop.words.getvalue().splitlines() if "--resume" in line]

    assert last_lines() == []
    loop.said(QUESTION)
    assert last_lines() == ["continue it: dslocal chat --resume"]
    later = new_conversation("nano")
    later.save([Message("user", "later")])
    os.utime(later.file, (2e9, 2e9))
    assert last_lines() == [f"continue it: dslocal chat --resume {loop.conversation.id}"]
    loop.said("/clear")
    assert last_lines() == []
    later.close()


def test_a_cut_answer(loop: Loop) -> None:
    """Proves that a cut is said, marked on disk and in a saved file, and that /continue mends all
    of it, also after a restart.
    """
    whole = loop.said(QUESTION) and loop.session.history[-1]
    loop.said("/clear")
    loop.said("/set max_tokens 40")
    assert "the answer was cut off after 40 tokens; /continue resumes it" in loop.said(QUESTION)
    assert "answer cut: /continue" in loop.toolbar(200)
    loop.said("/save cut.md")
    assert "*(cut: no tokens were left)*" in Path("cut.md").read_text()
    saved = load_conversation(loop.conversation.file)
    assert saved.history[-1].cut == "length"
    assert saved.partial is not None
    assert len(saved.partial.ids) == 40

    loop.said("/clear")
    assert "the last answer was cut (/continue resumes it)" in loop.said(f"/resume {saved.id}")
    loop.said("/set max_tokens 1000")
    assert ANSWER in loop.said("/continue")
    assert loop.session.history[-1] == whole
    assert load_conversation(saved.file).history[-1] == whole
    assert load_conversation(saved.file).partial is None


def test_an_unanswered_question(loop: Loop) -> None:
    """Proves that a question whose answer was lost is offered again."""
    lost = new_conversation("nano")
    lost.save([Message("user", QUESTION)])
    lost.close()
    assert f"the last question has no answer: {QUESTION} (/retry asks it)" in loop.said(
        f"/resume {lost.id}"
    )
    assert "the last question has no answer yet (/retry asks it)" in loop.said("/continue")
    assert ANSWER in loop.said("/retry")
    assert [message.role for message in load_conversation(lost.file).history] == [
        "user",
        "assistant",
    ]


def test_a_conversation_that_is_open_elsewhere_is_copied(loop: Loop) -> None:
    """Proves that two chats never write one file."""
    other = new_conversation("\x1b[31mother")
    other.save([Message("user", "a \x1b[2J"), Message("assistant", "b")])
    shown = loop.said(f"/resume {other.id}")
    assert "is open in another terminal: this chat continues with a copy" in shown
    assert "it was with [31mother; /model switches" in shown
    assert loop.conversation.id != other.id
    assert load_conversation(loop.conversation.file).history == other.history
    assert "\x1b" not in loop.said("/sessions")
    loop.said("/edit")
    assert loop.draft == "a [2J"
    other.close()


def test_a_conversation_that_cannot_be_written_is_copied(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(self: StoredConversation) -> bool:
        raise DslocalError(f"{self.file}: cannot be opened: Permission denied")

    other = new_conversation("nano")
    other.save([Message("user", "a"), Message("assistant", "b")])
    other.close()
    monkeypatch.setattr(StoredConversation, "lock", lock)
    shown = " ".join(loop.said(f"/resume {other.id}").split())
    assert "cannot be opened: Permission denied: this chat continues with a copy" in shown
    assert "another terminal" not in shown
    assert load_conversation(loop.conversation.file).history == other.history


def test_files_go_with_an_edited_question(loop: Loop) -> None:
    """Proves that editing a question keeps the files that it had."""
    Path("settings.ini").write_text("host = example.com\nport = 8080\n")
    assert "settings.ini goes with the next question" in loop.said("/file settings.ini")
    assert "1 file attached" in loop.toolbar(200)
    assert "8080" in loop.said("What is the port?")
    loop.said("/edit")
    loop.said("What is the host?")
    assert len(loop.session.history) == 2
    assert loop.session.history[0].content.startswith("[file name]: settings.ini")
    assert loop.session.history[0].content.endswith("What is the host?")
    loop.said("/file settings.ini settings.ini")
    assert "no file is attached to the next question" in loop.said("/file none")


def test_switching_models_keeps_the_conversation(loop: Loop) -> None:
    """Proves that the history stays, the name changes, and that a model that is not there changes
    nothing.
    """
    loop.said(QUESTION)
    loop.said("/model nothing")
    assert loop.name == "nano"
    loop.said("/model other")
    assert (loop.name, loop.model, len(loop.session.history)) == ("other", "other", 2)
    assert loop.toolbar(100).startswith("other")
    assert "4047" in loop.said("Now add 5 to that.")
    assert load_conversation(loop.conversation.file).model == "other"


def test_a_question_with_a_slash_and_what_does_not_fit(loop: Loop) -> None:
    """Proves that // asks, and that a question too long is refused and kept without an answer."""
    loop.said("//etc is what?")
    assert loop.session.history[0].content == "/etc is what?"
    assert "the context holds 2,048" in loop.said("47 " * 2000)
    assert len(loop.session.history) == 2
    kept = load_conversation(loop.conversation.file).history
    assert kept[:2] == loop.session.history
    assert kept[2:] == [loop.unanswered]


def test_thinking_is_switched(loop: Loop) -> None:
    """Proves that the toolbar says so, and the answer follows."""
    loop.said("/think off")
    assert "thinking bypassed" in loop.toolbar(200)
    loop.said("capital of peru")
    assert loop.session.history[-1].reasoning == ""
    assert loop.session.thinking is Thinking.BYPASSED


COMPLETED = [
    ("set", "", "temperature"),
    ("set", "te", "temperature"),
    ("set", "math ", "auto"),
    ("set", "temperature ", "0.6"),
    ("model", "", "other"),
    ("think", "", "off"),
    ("copy", "", "code"),
]


@pytest.mark.parametrize(("name", "typed", "word"), COMPLETED)
def test_words_that_may_follow(loop: Loop, name: str, typed: str, word: str) -> None:
    """Proves what is offered after each command."""
    assert word in [found for found, _ in suggestions_for(loop, name, typed) or []]


def test_conversations_may_follow(loop: Loop) -> None:
    """Proves that /resume offers ids with their questions, and /file and /save paths."""
    saved = new_conversation("nano")
    saved.save([Message("user", "Why?")])
    found = dict(suggestions_for(loop, "resume", "") or [])
    assert found[saved.id].endswith("Why?")
    assert suggestions_for(loop, "file", "") is suggestions_for(loop, "save", "") is None
    assert suggestions_for(loop, "exit", "") == []
    saved.close()
