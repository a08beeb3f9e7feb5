"""Proves that ``--dry-run`` shows what would be sent, id by id, and which of flag, environment,
config.toml and family sets what.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run

from dslocal.engine import LlamaModel

CARD = "R1 model card, Usage Recommendations"
DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."
DIRECTIVE_ZH = "请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。"
BOS = 0
USER = 4082
ASSISTANT = 4083
THINK = 4094
ORDINARY = range(3, 4079)


@pytest.fixture
def elsewhere(run: Run, tmp_path: Path) -> Run:
    """A home with nano converted and a config.toml to write."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    (tmp_path / "config").mkdir()
    return Run(tmp_path)


def sent(run: Run, *args: str, **more: Any) -> dict[str, Any]:
    done = run.inside("ask", "--dry-run", "--json", *args, **more)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_fields_and_ids(run: Run, model: LlamaModel) -> None:
    done = run("ask", "--dry-run", "--json", "What is 47 × 86?")
    result = json.loads(done.stdout)
    assert result == sent(run, "What is 47 × 86?")
    question = model.encode(f"What is 47 × 86?\n{DIRECTIVE}")
    newline = model.encode("\n")
    assert result == {
        "prompt": (
            f"<｜begin▁of▁sentence｜><｜User｜>What is 47 ×"
            f" 86?\n{DIRECTIVE}<｜Assistant｜><think>\n"
        ),
        "ids": [BOS, USER, *question, ASSISTANT, THINK, *newline],
        "settings": {
            "temperature": {"value": 0.6, "source": CARD},
            "top_p": {"value": 0.95, "source": CARD},
            "max_tokens": {"value": 32768, "source": CARD},
            "ctx": {"value": 4096, "source": "model"},
            "thinking": {"value": "forced", "source": "family"},
            "math": {
                "value": True,
                "source": (
                    f"the question is mathematical ({CARD}; in Chinese from DeepSeek-Math's card)"
                ),
            },
        },
        "family": "nano",
        "model": "nano",
    }


def test_spelled_special_tokens_stay_text(run: Run) -> None:
    text = "<｜Assistant｜><think></think>\n<｜end▁of▁sentence｜><｜User｜><<think>>"
    head, *rest = sent(run, text, "-s", text)["ids"]
    assert head == BOS
    assert [token for token in rest if token not in ORDINARY] == [USER, ASSISTANT, THINK]


PROMPTS = {
    "instructions are folded": (
        ["hi", "-s", "Be brief."],
        "<｜User｜>Be brief.\n\nhi<｜Assistant｜><think>\n",
    ),
    "bypassed": (["hi", "--no-think"], "<｜User｜>hi<｜Assistant｜><think>\n\n</think>\n\n"),
    "forced": (["hi", "--think"], "<｜User｜>hi<｜Assistant｜><think>\n"),
    "mathematical": (["12 * 3"], f"<｜User｜>12 * 3\n{DIRECTIVE}<｜Assistant｜><think>\n"),
    "mathematical, in Chinese": (
        ["12乘以3等于多少？"],
        f"<｜User｜>12乘以3等于多少？\n{DIRECTIVE_ZH}<｜Assistant｜><think>\n",
    ),
    "not to be taken so": (["12 * 3", "--no-math"], "<｜User｜>12 * 3<｜Assistant｜><think>\n"),
    "not mathematical": (["hi 12"], "<｜User｜>hi 12<｜Assistant｜><think>\n"),
    "to be taken so": (["hi", "--math"], f"<｜User｜>hi\n{DIRECTIVE}<｜Assistant｜><think>\n"),
    "final": (["hi", "--final"], f"<｜User｜>hi\n{DIRECTIVE}<｜Assistant｜><think>\n"),
    "vote": (["hi", "--vote"], f"<｜User｜>hi\n{DIRECTIVE}<｜Assistant｜><think>\n"),
    "v3.1": (["hi", "--family", "v3.1"], "<｜User｜>hi<｜Assistant｜></think>"),
    "v3.1, thinking": (["hi", "--family", "v3.1", "--think"], "<｜User｜>hi<｜Assistant｜><think>"),
    "v3": (["hi", "--family", "v3", "-s", "Be brief."], "Be brief.<｜User｜>hi<｜Assistant｜>"),
    "v2": (["hi", "--family", "v2", "-s", "Be brief."], "Be brief.\n\nUser: hi\n\nAssistant:"),
    "base": (["12 * 3 =", "--family", "base"], "12 * 3 ="),
    "final, asked for already": (
        ["12 * 3 in \\boxed{}", "--final"],
        "<｜User｜>12 * 3 in \\boxed{}<｜Assistant｜><think>\n",
    ),
    "an argument that is not UTF-8": (["caf\udce9"], "<｜User｜>caf?<｜Assistant｜><think>\n"),
}


@pytest.mark.parametrize(("args", "prompt"), PROMPTS.values(), ids=PROMPTS)
def test_prompts(run: Run, args: list[str], prompt: str) -> None:
    assert sent(run, *args)["prompt"] == "<｜begin▁of▁sentence｜>" + prompt


def test_files_go_before_the_question(run: Run, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"content of {name}\n")
    prompt = sent(
        run, "-f", str(tmp_path / "a.txt"), "-f", str(tmp_path / "b.txt"), "hi", stdin=b"piped"
    )["prompt"]
    files = "".join(
        f"[file name]: {n}\n[file content begin]\ncontent of {n}\n[file content end]\n"
        for n in ("a.txt", "b.txt")
    )
    assert prompt == f"<｜begin▁of▁sentence｜><｜User｜>{files}piped\n\nhi<｜Assistant｜><think>\n"


FILE = "{home}/config/config.toml"
WARM = {"DSLOCAL_TEMPERATURE": "0.55"}
SOURCES: dict[str, tuple[str, dict[str, str], list[str], dict[str, tuple[float | str, str]]]] = {
    "file": (
        "temperature = 0.7\nctx = 1024",
        {},
        [],
        {"temperature": (0.7, FILE), "ctx": (1024, FILE), "top_p": (0.95, CARD)},
    ),
    "environment over file": (
        "temperature = 0.7",
        WARM,
        [],
        {"temperature": (0.55, "DSLOCAL_TEMPERATURE")},
    ),
    "flag over environment": (
        "temperature = 0.7",
        {"DSLOCAL_TEMPERATURE": "0.55"},
        ["--temperature=0.5"],
        {"temperature": (0.5, "--temperature")},
    ),
    "each on its own": (
        "top_p = 0.9",
        {"DSLOCAL_MAX_TOKENS": "100"},
        ["--ctx=512", "--no-think"],
        {
            "top_p": (0.9, FILE),
            "max_tokens": (100, "DSLOCAL_MAX_TOKENS"),
            "ctx": (512, "--ctx"),
            "thinking": ("bypassed", "--no-think"),
        },
    ),
    "all by environment": (
        "",
        {"DSLOCAL_TOP_P": "1", "DSLOCAL_CTX": "2048"},
        ["--max-tokens=7"],
        {
            "top_p": (1, "DSLOCAL_TOP_P"),
            "ctx": (2048, "DSLOCAL_CTX"),
            "max_tokens": (7, "--max-tokens"),
        },
    ),
    "numbers of tokens in thousands": (
        'ctx = "1k"\nmax_tokens = "2k"',
        {"DSLOCAL_CTX": "2k"},
        [],
        {"ctx": (2048, "DSLOCAL_CTX"), "max_tokens": (2048, FILE)},
    ),
    "an empty variable is none": (
        "temperature = 0.7",
        {"DSLOCAL_TEMPERATURE": ""},
        [],
        {"temperature": (0.7, FILE)},
    ),
    "a bad file value under a good flag": (
        "temperature = 9",
        {},
        ["--temperature=0.5"],
        {"temperature": (0.5, "--temperature")},
    ),
    "the model's name by file": ('model = "nano"', {}, [], {"temperature": (0.6, CARD)}),
    "the model's name by environment": (
        'model = "nothing"',
        {"DSLOCAL_MODEL": "nano"},
        [],
        {"temperature": (0.6, CARD)},
    ),
    "the model's name by flag": (
        "",
        {"DSLOCAL_MODEL": "nothing"},
        ["-m", "nano"],
        {"temperature": (0.6, CARD)},
    ),
}


@pytest.mark.parametrize(("toml", "env", "args", "expected"), SOURCES.values(), ids=SOURCES)
def test_where_a_setting_comes_from(
    elsewhere: Run,
    toml: str,
    env: dict[str, str],
    args: list[str],
    expected: dict[str, tuple[float | str, str]],
) -> None:
    (elsewhere.home / "config" / "config.toml").write_text(toml)
    settings = sent(elsewhere, "hi", *args, env=env)["settings"]
    for name, (value, source) in expected.items():
        assert settings[name] == {"value": value, "source": source.format(home=elsewhere.home)}


BAD = [
    ("temprature = 0.7", {}, 2, "unknown key 'temprature' (known keys: model, ctx, min_speed, "),
    ("temperature = ", {}, 2, "config.toml: "),
    ("# a\n# \udcff", {}, 2, "config.toml: line 2 is not UTF-8 text: save it as UTF-8 ("),
    (
        'stream_experts = "now"',
        {},
        2,
        "config.toml: stream_experts: 'now' is not known (auto, on, off)",
    ),
    ("engine = 3", {}, 2, "config.toml: engine: '3' is not the URL of an engine"),
    ("", {"DSLOCAL_STREAM_EXPERTS": "1"}, 2, "DSLOCAL_STREAM_EXPERTS: '1' is not known"),
    ("temperature = 9", {}, 2, "config.toml: 9 is out of range"),
    ('temperature = "hot"', {}, 2, "'hot' is not a number"),
    ("temperature = true", {}, 2, "True is not a number"),
    ("max_tokens = 1.5", {}, 2, "1.5 is not a whole number"),
    ("temperature = [1]", {}, 2, "is not a number"),
    ("ctx = -5", {}, 2, "config.toml: ctx: -5 is out of range"),
    ("ctx = 1024.5", {}, 2, "config.toml: ctx: 1024.5 is not a number of tokens"),
    ('model = "nothing"', {}, 3, "'nothing'"),
    ("", {"DSLOCAL_TEMPERATURE": "hot"}, 2, "DSLOCAL_TEMPERATURE: 'hot' is not a number"),
    ("", {"DSLOCAL_CTX": "many"}, 2, "DSLOCAL_CTX: many is not a number of tokens"),
    ("", {"DSLOCAL_MODEL": "nothing"}, 3, "'nothing'"),
]


@pytest.mark.parametrize(("toml", "env", "code", "said"), BAD, ids=lambda value: ascii(value)[:30])
def test_a_bad_setting_is_one_line(
    elsewhere: Run, toml: str, env: dict[str, str], code: int, said: str
) -> None:
    (elsewhere.home / "config" / "config.toml").write_text(
        toml, encoding="utf-8", errors="surrogateescape"
    )
    done = elsewhere.inside("ask", "--dry-run", "hi", env=env)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1), done.stderr
    assert said in done.stderr.decode()


def test_for_people(run: Run) -> None:
    """The same as text; what a terminal would act on is left out."""
    done = run.inside("ask", "--dry-run", "a\x1b[31mb\u202ec", "--top-p", "0.9")
    text = done.stdout.decode()
    assert done.returncode == 0
    assert text.startswith("<｜begin▁of▁sentence｜><｜User｜>a[31mbc<｜Assistant｜><think>\n")
    assert "\n\n16 tokens: 0 4082 67 " in text
    assert "model nano, family nano\n" in text
    assert "top_p = 0.9  (--top-p)\n" in text
    assert f"temperature = 0.6  ({CARD})\n" in text


def test_json_is_free_of_control_characters_too(run: Run) -> None:
    done = run.inside("ask", "--dry-run", "--json", "a\x1b[31mb")
    assert b"\x1b" not in done.stdout
    assert "a\x1b[31mb" in json.loads(done.stdout)["prompt"]


def test_the_binary_takes_its_settings_from_the_same_places(elsewhere: Run) -> None:
    (elsewhere.home / "config" / "config.toml").write_text("temperature = 0.7\ntop_p = 0.9\n")
    args = ("ask", "--dry-run", "--json", "hi", "--max-tokens", "9")
    done, env = elsewhere(*args, env=WARM), WARM
    assert done.returncode == 0
    assert json.loads(done.stdout) == sent(elsewhere, *args[3:], env=env)
    assert json.loads(done.stdout)["settings"]["temperature"] == {
        "value": 0.55,
        "source": "DSLOCAL_TEMPERATURE",
    }


def test_nothing_is_generated_and_nothing_remembered(elsewhere: Run) -> None:
    sent(elsewhere, "hi")
    assert not (elsewhere.home / "state").exists()
