"""Proves that ``dslocal doctor`` names settings that are wrong, and how to correct them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dslocal.cli import doctor_checks

CONFIGS: dict[str, tuple[str, dict[str, str], int, list[tuple[str, str]]]] = {
    "a misspelled key": (
        "temprature = 1",
        {},
        1,
        [("unknown key 'temprature'", "did you mean temperature?")],
    ),
    "a key that is nothing": ("qqq = 1", {}, 1, [("unknown key 'qqq'", "remove it")]),
    "a value that is not allowed": (
        "temperature = 9",
        {},
        1,
        [("config.toml: 9 is out of range", "temperature is 0 to 5")],
    ),
    "no TOML": ("temperature = ", {}, 1, [("config.toml: Invalid value", "correct or remove")]),
    "a bad variable": (
        "",
        {"DSLOCAL_TOP_P": "7"},
        1,
        [("DSLOCAL_TOP_P: 7 is out of range", "top_p is above 0")],
    ),
    "a bad context": (
        "ctx = 3",
        {},
        1,
        [("the configured context, 3,", "ctx must be 512 or more")],
    ),
    "a context of thousands of digits": (
        "",
        {"DSLOCAL_CTX": "9" * 5000},
        1,
        [("the configured context, '999", "ctx must be 512 or more")],
    ),
    "thousands of digits in the file": (
        f"ctx = {'9' * 5000}",
        {},
        1,
        [("config.toml: a number in it has thousands of digits", "")],
    ),
    "tokens in thousands": ('ctx = "1k"', {"DSLOCAL_MAX_TOKENS": "2k"}, 0, []),
    "a misspelled variable": (
        "",
        {"DSLOCAL_TEMPRATURE": "1"},
        0,
        [("DSLOCAL_TEMPRATURE: ", "did you mean DSLOCAL_TEMPERATURE?")],
    ),
    "a model that is not here": (
        'model = "nothing"',
        {},
        1,
        [("no model or file called 'nothing'", "on this machine: nano")],
    ),
    "not a template": (
        "[templates.a]\nprompt = 1",
        {},
        0,
        [("templates.a.prompt: is not text", "dslocal help templates")],
    ),
    "a template with a bad setting": (
        '[templates.a]\nprompt = "x"\ntop_p = 3',
        {},
        0,
        [("template a: 3 is out of range", "top_p is above 0")],
    ),
    "several": (
        'a = 1\nb = 1\n[templates.c]\nprompt = "{x"\ntop_k = 1',
        {},
        1,
        [("unknown key 'a'", ""), ("unknown key 'b'", "")],
    ),
}


@pytest.mark.parametrize(("toml", "env", "code", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_settings(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    toml: str,
    env: dict[str, str],
    code: int,
    expected: list[tuple[str, str]],
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(toml)
    found = list(doctor_checks.check_settings())
    if "model" in toml:
        found += doctor_checks.check_models()
    assert len(found) == len(expected)
    for problem, (what, mend) in zip(found, expected, strict=True):
        assert what in problem.what
        assert mend in problem.mend
        assert problem.stops == bool(code)
