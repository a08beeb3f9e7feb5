"""Find dslocal's folders where they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli.running import python

from dslocal import home


def test_dslocal_home_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    assert [home.cache_dir(), home.config_dir(), home.state_dir()] == [
        tmp_path / name for name in ("cache", "config", "state")
    ]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DSLOCAL_HOME", "~/x")
    assert home.cache_dir() == tmp_path / "x" / "cache"


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_they_are_the_platform_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "DSLOCAL_HOME"):
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv("DSLOCAL_HOME", value)
    folders = [home.cache_dir(), home.config_dir(), home.state_dir()]
    assert all(folder.is_relative_to(tmp_path) and folder.name == "dslocal" for folder in folders)
    assert not any(folder.exists() for folder in folders)


def test_asking_for_folders_loads_nothing() -> None:
    program = (
        "import sys, dslocal.home as home; home.cache_dir(); print(*{'yaml',"
        " 'platformdirs', 'huggingface_hub'} & set(sys.modules))"
    )
    assert python(program, env={"DSLOCAL_HOME": "/tmp/x"}).stdout == "\n"
