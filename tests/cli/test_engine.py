"""``--engine``: commands with a model that another process serves."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.engines.fake_engine import FakeEngine, Status, Tokens
from support.server.page_client import PageClient
from support.server.serving import serving
from support.terminal.screen import READY, Screen

import dslocal
from dslocal.engine import LlamaModel
from dslocal.errors import UsageError

SHIPPED = Path(dslocal.__file__).parent / "nano"


@pytest.fixture
def engine(model: LlamaModel) -> Iterator[FakeEngine]:
    """An engine that says nano's name, and answers every question with Lima."""
    ids = [model.special_id("</think>") or 0, *model.encode("Lima"), 1]
    with FakeEngine(model, replies=[Tokens(ids)]) as fake:
        yield fake


def test_ask(run: Run, engine: FakeEngine) -> None:
    done = run("ask", "--engine", engine.url, "capital of peru")
    assert (done.returncode, done.stdout) == (0, b"Lima\n")


def test_json_says_which_engine(run: Run, engine: FakeEngine) -> None:
    done = run("ask", "--engine", engine.url, "--json", "--logprobs", "0", "capital of peru")
    fields = json.loads(done.stdout)
    assert (fields["answer"], fields["model"], fields["engine"]) == ("Lima", "nano", engine.url)
    assert fields["family"] == "nano"
    assert "file" not in fields
    assert [entry["logprob"] for entry in fields["logprobs"]] == [-0.5] * len(fields["logprobs"])


def test_dry_run_shows_the_ids_that_would_be_sent(run: Run, engine: FakeEngine) -> None:
    shown = run("ask", "--engine", engine.url, "--dry-run", "--json", "capital of peru")
    assert engine.generated == []
    run("ask", "--engine", engine.url, "capital of peru")
    assert json.loads(shown.stdout)["ids"] == engine.prompt()


def test_votes(run: Run, engine: FakeEngine, model: LlamaModel) -> None:
    boxed = model.encode("\\boxed{4}")
    engine.replies = [Tokens([model.special_id("</think>") or 0, *boxed, 1])]
    done = run("ask", "--engine", engine.url, "-n", "3", "--vote", "--seed", "7", "2 + 2")
    assert (done.returncode, done.stdout) == (0, b"4\n")
    assert [body["seed"] for body in engine.generated] == [7, 8, 9]


def test_fim(run: Run, engine: FakeEngine, model: LlamaModel) -> None:
    engine.replies = [Tokens([*model.encode("a + b"), 1])]
    options = ("--prefix", "def add(a, b):\n    return ", "--suffix", "\n")
    done = run("fim", "--engine", engine.url, *options)
    assert (done.returncode, done.stdout) == (0, b"a + b\n")


def test_eval(run: Run, engine: FakeEngine, model: LlamaModel, tmp_path: Path) -> None:
    engine.replies = [Tokens([model.special_id("</think>") or 0, *model.encode("\\boxed{4}"), 1])]
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "2 + 2", "answer": "4"}\n', encoding="utf-8")
    command = ("eval", questions, "--engine", engine.url, "--json", "--out", tmp_path / "r.jsonl")
    done = run(*command)
    report = json.loads(done.stdout)
    assert report["pass_at_1"] == 1
    assert report["settings"]["model"] == f"nano at {engine.url}"
    assert json.loads(run(*command).stdout)["resumed"] == 1


def test_chat_says_where_text_goes(run: Run, engine: FakeEngine) -> None:
    with Screen([str(BINARY), "chat", "--engine", engine.url], run.env()) as chat:
        chat.wait_for(READY)
        chat.press("capital of peru\r")
        chat.wait_for("Lima")
        chat.wait_for(READY)
        shown = " ".join(chat.text.split())
        assert f"text goes to {engine.url}, on this machine" in shown
        assert "Nothing leaves this machine" not in shown
        chat.press("\x04")
        assert chat.leave() == 0


def test_an_answer_that_the_engine_cuts_is_kept_and_continued(
    run: Run, engine: FakeEngine, model: LlamaModel, tmp_path: Path
) -> None:
    """Proves it in the chat that saw the cut, and in the next one."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    own = Run(tmp_path)
    ids = [model.special_id("</think>") or 0, *model.encode("one two three four")]
    engine.replies = [Tokens(ids, cut_after=3), Tokens(ids[3:], cut_after=1), Tokens([*ids[4:], 1])]
    with Screen([str(BINARY), "chat", "--engine", engine.url], own.env()) as chat:
        chat.wait_for(READY)
        chat.press("count\r")
        said = " ".join(chat.wait_for(READY).split())
        assert "lost after 3 tokens (the part that arrived is kept; /continue resumes it)" in said
        chat.press("/continue\r")
        chat.wait_for("was lost")
        chat.wait_for(READY)
        chat.press("\x04")
        assert chat.leave() == 0
    with Screen([str(BINARY), "chat", "--engine", engine.url, "--resume"], own.env()) as chat:
        chat.wait_for("the last answer was cut (/continue resumes it)")
        chat.wait_for(READY)
        chat.press("/continue\r")
        chat.wait_for("one two three four")
        chat.wait_for(READY)
    assert engine.prompt(1) == [*engine.prompt(0), *ids[:3]]
    assert engine.prompt(2) == [*engine.prompt(0), *ids[:4]]


def test_the_page_keeps_an_answer_that_the_engine_cuts(
    new_home: Callable[[str], Path], engine: FakeEngine, model: LlamaModel
) -> None:
    ids = [model.special_id("</think>") or 0, *model.encode("one two three four")]
    engine.replies = [Tokens(ids, cut_after=3), Tokens([*ids[3:], 1])]
    with serving(new_home("page"), "--engine", engine.url, models=()) as server:
        page = PageClient(server)
        id, end = page.ask("count")
        assert "lost after 3 tokens" in end["error"]["message"]
        cut = page.stored(id).history[-1]
        assert (cut.content, cut.cut) == ("one two", "interrupted")
        assert page.send(id, action="continue").status_code == 202
        assert page.end(id)["text"] == "one two three four"
    assert engine.prompt() == [*engine.prompt(0), *ids[:3]]


def test_serve(new_home: object, run: Run, engine: FakeEngine) -> None:
    with serving(run.home, "--engine", engine.url) as server:
        answer = server.chat("capital of peru")
        assert answer["choices"][0]["message"]["content"] == "Lima"
        listed = server.http.get("/v1/models").json()["data"]
        assert [(each["id"], each["context_length"]) for each in listed] == [("nano", 4096)]


def test_the_python_api(run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(run.home))
    with dslocal.load(engine.url, engine_model="nano") as model:
        assert model.name == "nano"
        assert model.ask("capital of peru").text == "Lima"
        with pytest.raises(UsageError, match="it runs in an engine"):
            _ = model.load_config
    with pytest.raises(UsageError, match="cannot be used with an engine"):
        dslocal.load(engine.url, kv_type="q8_0")


@pytest.mark.parametrize("place", ["folder", "file", "gguf", "name"])
def test_the_tokenizer_may_be_named(
    run: Run, engine: FakeEngine, nano: Path, tmp_path: Path, place: str
) -> None:
    """In an empty home, for a model of another name; the family is decided then."""
    shutil.copytree(SHIPPED, tmp_path / "model")
    for weights in (tmp_path / "model").glob("*.safetensors"):
        weights.unlink()
    places: dict[str, str | Path] = {
        "folder": tmp_path / "model",
        "file": tmp_path / "model" / "tokenizer.json",
        "gguf": nano,
        "name": "nano",
    }
    engine.name = "somebody/something"
    options = ("--engine", engine.url, "--family", "nano")
    env = {"DSLOCAL_HOME": str(tmp_path / "home")}
    missing = run("ask", *options, "capital of peru", env=env)
    assert missing.returncode == 3
    assert b"the tokenizer of somebody/something is not on this machine" in missing.stderr
    done = run("ask", *options, "--tokenizer", places[place], "capital of peru", env=env)
    assert (done.returncode, done.stdout) == (0, b"Lima\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("deepseek-ai/DeepSeek-R1", "r1"),
        ("deepseek-ai/DeepSeek-R1-0528", "r1-0528"),
        ("deepseek-ai/DeepSeek-V3.1", "v3.1"),
        ("deepseek-ai/DeepSeek-V4-Flash-0731", "v4-0731"),
    ],
)
def test_the_models_name_chooses_the_family(
    run: Run, engine: FakeEngine, nano: Path, tmp_path: Path, name: str, family: str
) -> None:
    """With a tokenizer that says nothing of the model but its tokens."""
    shutil.copy(SHIPPED / "tokenizer.json", tmp_path)
    engine.name = name
    done = run("ask", "--engine", engine.url, "--tokenizer", tmp_path, "--json", "hello")
    assert json.loads(done.stdout)["family"] == family, done.stderr


def test_a_checkpoint_in_the_hubs_cache_has_the_tokenizer(
    run: Run, engine: FakeEngine, tmp_path: Path
) -> None:
    """Where vLLM itself put it, on the same machine."""
    commit = "a" * 40
    folder = tmp_path / "hub" / "models--deepseek-ai--DeepSeek-R1"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    shutil.copy(SHIPPED / "tokenizer.json", snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit, encoding="ascii")
    engine.name = "deepseek-ai/DeepSeek-R1"
    env = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    done = run("ask", "--engine", engine.url, "--json", "hello", env=env)
    assert json.loads(done.stdout)["family"] == "r1", done.stderr


WRONG = {
    "another model": (("-m", "r2"), 3, "serves no model 'r2'"),
    "a way to load": (("--kv", "q8_0"), 2, "--kv cannot be set for an engine"),
    "workers": (
        ("--rpc", "127.0.0.1"),
        2,
        "--rpc cannot be set for an engine, which decides that itself",
    ),
    "a context that is none": (("--ctx", "1"), 2, "--ctx: 1 is out of range"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_go_with_an_engine(run: Run, engine: FakeEngine, name: str) -> None:
    options, code, message = WRONG[name]
    done = run("ask", "--engine", engine.url, *options, "hello")
    assert done.returncode == code
    assert message in done.stderr.decode()
    assert engine.generated == []


def test_none_goes_before_what_is_configured(run: Run, engine: FakeEngine) -> None:
    env = {"DSLOCAL_ENGINE": engine.url}
    done = run("ask", "--engine", "none", "-m", "nano", "capital of peru", env=env)
    assert b"Lima" in done.stdout
    assert engine.sent == []


@pytest.mark.parametrize("place", ["variable", "file", "config"])
def test_a_key_comes_from_the_environment_or_a_file(
    run: Run, engine: FakeEngine, tmp_path: Path, place: str
) -> None:
    engine.key = "s3cret"
    file = tmp_path / "key"
    file.write_text("s3cret\n", encoding="ascii")
    (tmp_path / "home" / "config").mkdir(parents=True)
    (tmp_path / "home" / "cache").symlink_to(run.home / "cache")
    env = {"DSLOCAL_HOME": str(tmp_path / "home")}
    refused = run("ask", "--engine", engine.url, "hello", env=env)
    assert refused.returncode == 1
    assert b"needs a key (401)" in refused.stderr
    if place == "config":
        config = tmp_path / "home" / "config" / "config.toml"
        config.write_text(f'engine_key_file = "{file}"\n', encoding="utf-8")
    else:
        name = {"variable": "DSLOCAL_ENGINE_KEY", "file": "DSLOCAL_ENGINE_KEY_FILE"}[place]
        env[name] = "s3cret" if place == "variable" else str(file)
    done = run("ask", "--engine", engine.url, "hello", env=env)
    assert (done.returncode, done.stdout) == (0, b"Lima\n"), done.stderr
    assert b"s3cret" not in done.stderr


def test_an_error_is_one_line_without_escapes(run: Run, engine: FakeEngine) -> None:
    body = json.dumps({"error": {"message": "bad \x1b[2J\r\n thing\u202e"}}).encode()
    engine.replies = [Status(500, body)]
    done = run("ask", "--engine", engine.url, "hello")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.decode().splitlines() if "engine failed" in line]
    assert re.fullmatch(r"dslocal: http://\S+: the engine failed \(500\): bad \[2J thing .*", line)


def test_what_came_before_a_cut_is_printed(run: Run, engine: FakeEngine, model: LlamaModel) -> None:
    ids = [model.special_id("</think>") or 0, *model.encode("one two three")]
    engine.replies = [Tokens(ids, cut_after=3)]
    done = run("ask", "--engine", engine.url, "hello")
    assert done.returncode == 1
    assert done.stdout.startswith(b"one two")
    assert b"the connection was lost after 3 tokens" in done.stderr
    assert len(engine.generated) == 1
