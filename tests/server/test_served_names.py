"""Proves which models ``serve --all`` offers: each file once, by a name that finds it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.server.serving import serving

from dslocal.catalog import resolve
from dslocal.catalog.inventory import InstalledModel, add_installed
from dslocal.cli.serving.all_models import all_model_names
from dslocal.cli.serving.left_out_models import LeftOutModels
from dslocal.cli.serving.serve_options import ServedNames
from dslocal.errors import DoesNotFitError, DslocalError, GgufError, NotFoundError, UsageError


def imported(name: str, path: Path) -> InstalledModel:
    return InstalledModel(name, "Q8_0", path, (path,), 1, "imported", str(path), 0)


@pytest.fixture
def own_home(nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own in which nano is converted; the file that it became."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    (tmp_path / "cache").symlink_to(nano.parents[1])
    return tmp_path / "cache" / "converted" / nano.name


def test_each_file_is_served_once(own_home: Path, tmp_path: Path) -> None:
    assert all_model_names() == ["nano"]
    other = tmp_path / "other.gguf"
    shutil.copy(own_home, other)
    add_installed(imported("other", other))
    add_installed(imported("gone", tmp_path / "gone.gguf"))
    assert all_model_names() == ["nano", "other:Q8_0"]
    resolve.remember_last_used("other")
    names = all_model_names()
    assert names[0] == "other"
    assert len(names) == 2
    for last_used in (str(own_home), str(other)):
        resolve.remember_last_used(last_used)
        assert len(all_model_names()) == 2
        assert all_model_names()[0] == last_used


def test_all_but_those_that_cannot_be_served(
    new_home: Callable[[str], Path], nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home("all")
    monkeypatch.setenv("DSLOCAL_HOME", str(home))
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(nano.read_bytes()[:100_000])
    add_installed(imported("damaged", damaged))
    with serving(home, "--all", "--ctx", "512", models=[]) as server:
        names = [each["id"] for each in server.http.get("/v1/models").json()["data"]]
        assert names == ["nano"]
        assert server.log.count("damaged:Q8_0 is not served: ") == 1


@pytest.mark.parametrize("error", [DoesNotFitError, GgufError, NotFoundError])
def test_a_model_is_left_out_with_its_reason(
    error: type[DslocalError], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error("it has 5 heads", hint="buy some")

    left_out = LeftOutModels(is_allowed=True)
    assert left_out.attempt("a", fail) is None
    assert left_out.attempt("b", lambda: 5) == 5
    assert capsys.readouterr().err == "dslocal: a is not served: it has 5 heads (buy some)\n"
    left_out.require(["b"])
    with pytest.raises(error):  # nothing is left
        left_out.require([])
    with pytest.raises(error):  # a model that was named
        LeftOutModels(is_allowed=False).attempt("a", fail)


def test_an_option_that_no_model_has_is_refused() -> None:
    def fail() -> None:
        raise UsageError("--mtp on")

    with pytest.raises(UsageError):
        LeftOutModels(is_allowed=True).attempt("a", fail)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (ServedNames(), [None]),
        (ServedNames(["a", "b"]), ["a", "b"]),
        (ServedNames(None, "a"), ["a"]),
    ],
)
def test_names_that_are_given(given: ServedNames, names: list[str | None]) -> None:
    assert given.names() == names


@pytest.mark.parametrize(
    "given", [ServedNames(["a"], "b"), ServedNames(["a"], None, True), ServedNames(None, "a", True)]
)
def test_two_ways_to_name_models_exclude_each_other(given: ServedNames) -> None:
    with pytest.raises(UsageError):
        given.names()
