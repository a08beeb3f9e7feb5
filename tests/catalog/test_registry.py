"""Read models.yaml: what ships, what an entry may say, and the user's own entries."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml
from support.catalog.registry_files import (
    HERE,
    SIZES,
    SMALL,
    config,
    entry,
    flow,
    shaped,
)
from support.cli.running import Run

import dslocal.convert as converter
from dslocal import catalog, home
from dslocal.errors import DslocalError, NotFoundError
from dslocal.home.paths import registry_file
from dslocal.prompts.families import FAMILIES

LIMIT_S = 0.02


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's entries are read from."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    home.config_dir().mkdir()
    return home.config_dir() / "models.yaml"


def test_what_ships() -> None:
    registry = catalog.load_registry()
    nano = registry["nano"]
    assert (nano.name, nano.quant, nano.licence) == ("nano", "Q8_0", "MIT")
    assert (nano.folder / "config.json").is_file()
    assert nano.config["hidden_size"] == 256
    assert len(registry) > 50


@pytest.mark.parametrize("model", catalog.load_registry().values(), ids=lambda model: model.name)
def test_every_entry_that_ships(model: catalog.ModelEntry) -> None:
    assert model.family in FAMILIES
    assert model.quant in converter.RECIPES
    assert model.active <= model.parameters
    assert model.context % 4096 == 0
    if model.local is None:
        assert (
            model.repository == f"deepseek-ai/{model.title}"
            or model.repository.lower() == f"deepseek-ai/{model.name}"
        )
        with pytest.raises(
            NotFoundError, match=f"{re.escape(model.name)} is not on this machine"
        ) as caught:
            _ = model.folder
        assert caught.value.hint == (
            f"dslocal pull {model.name} downloads it; dslocal fit {model.name} says what it needs"
        )


def test_a_good_entry(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(entry() + entry("n-2.5_b", HERE).split("\n", 1)[1])
    registry = catalog.load_registry(file)
    assert list(registry) == ["m", "n-2.5_b"]
    assert registry["m"] == catalog.ModelEntry(
        "m",
        "T",
        "MIT",
        "r1",
        "Q8_0",
        4096,
        1.5,
        0.5,
        "bf16",
        repository="some/Model",
        local=None,
        stated=SMALL,
    )
    assert registry["n-2.5_b"].folder == catalog.load_registry()["nano"].folder
    assert registry["n-2.5_b"].repository == ""


def test_what_an_entry_says_goes_before_its_shape(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        shaped(active=...).replace(
            "shape: s",
            "shape: s\n    parameters: 3\n    config: {hidden_size: 32, q_lora_rank: null}",
        )
    )
    found = catalog.load_registry(file)["m"]
    assert (found.parameters, found.active, found.context) == (3, 3, 4096)
    assert found.config == {**SMALL, "hidden_size": 32, "q_lora_rank": None}


def test_every_key_of_config_json_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    more: dict[str, object] = {
        "tie_word_embeddings": "true",
        "rms_norm_eps": "1e-05",
        "rope_theta": 1e6,
        "first_k_dense_replace": 0,
        "q_lora_rank": "~",
        "topk_method": "noaux_tc",
        "rope_scaling": {
            "type": "yarn",
            "factor": 40,
            "original_max_position_embeddings": 4096,
        },
    }
    file.write_text(config(**more))
    read = {**more, "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "q_lora_rank": None}
    assert catalog.load_registry(file)["m"].config == {**SMALL, **read}


def test_own_entries_win_and_may_use_the_shapes_that_ship(own: Path) -> None:
    shipped = catalog.load_registry()
    own.write_text(
        "models:\n  mine: {title: Mine, repository: me/Mine, licence: MIT, family: r1, quant:"
        " Q2_K, shape: v3}\n"
        "  deepseek-r1: {title: My R1, repository: me/R1, licence: MIT, family: r1, quant: Q2_K,"
        " shape: small}\n"
        f"shapes: {flow({'small': {**SIZES, 'config': SMALL}})}\n"
    )
    registry = catalog.load_registry()
    assert list(registry) == [*shipped, "mine"]
    assert registry["mine"].config == shipped["deepseek-v3"].config
    assert (registry["deepseek-r1"].title, registry["deepseek-r1"].config) == ("My R1", SMALL)
    assert registry["deepseek-v3"] == shipped["deepseek-v3"]


def test_own_entries_are_read_again_when_they_change(own: Path) -> None:
    own.write_text(entry("one"))
    assert "one" in catalog.load_registry()
    own.write_text(entry("another"))
    assert "another" in catalog.load_registry()
    assert "one" not in catalog.load_registry()
    own.unlink()
    assert "another" not in catalog.load_registry()


def test_broken_own_entries_are_an_error_that_names_them(
    own: Path, tmp_path: Path, run: Run
) -> None:
    own.write_text(entry(licens="MIT"))
    with pytest.raises(DslocalError, match=re.escape(f"{own}:13: m: licens: unknown key")):
        catalog.load_registry()
    home = {"DSLOCAL_HOME": str(tmp_path)}
    asked = run("ask", "hello", env=home)
    assert asked.returncode == 1
    assert asked.stderr.decode().startswith(f"dslocal: {own}:13: m: licens")
    assert run("--help", env=home).returncode == 0
    assert run("ask", "--help", env=home).returncode == 0


def test_own_entries_that_are_a_folder(own: Path) -> None:
    own.mkdir()
    with pytest.raises(DslocalError, match=re.escape(f"{own}: cannot be read")):
        catalog.load_registry()


def test_it_is_the_same_without_the_c_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = catalog.load_registry()
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    file = tmp_path / "models.yaml"
    file.write_bytes(registry_file().read_bytes())
    assert catalog.load_registry(file) == expected
    file.write_text("models: " + "[" * 100_000)
    with pytest.raises(DslocalError, match="too deep"):
        catalog.load_registry(file)


@pytest.mark.timed
def test_reading_what_ships_is_quick() -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        catalog.load_registry(registry_file())
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < (LIMIT_S if hasattr(yaml, "CBaseLoader") else 10 * LIMIT_S)
