"""Proves which models ``serve --all`` offers: each file once, by a name that finds it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dslocal.catalog import resolve
from dslocal.catalog.inventory import InstalledModel, add_installed
from dslocal.cli.serving.offered_models import all_model_names
from dslocal.cli.serving.serve_options import ServedNames
from dslocal.errors import UsageError


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
