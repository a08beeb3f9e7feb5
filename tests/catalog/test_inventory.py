"""Find installed models by any of their names, from many processes, whatever an entry holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import clean_environment
from support.waiting import exit_code_of

from dslocal import catalog
from dslocal.catalog.inventory import MAX_ENTRY, model_slug
from dslocal.errors import DslocalError, UsageError


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def entry(
    name: str = "r1",
    quant: str = "Q4_K_M",
    added: float = 1.0,
    path: Path = Path("/models/r1.gguf"),
    **more: Any,
) -> catalog.InstalledModel:
    """Return an installed model."""
    fields: dict[str, Any] = {
        "files": (path,),
        "nbytes": 10,
        "how": "imported",
        "origin": "ollama:r1:latest",
        **more,
    }
    return catalog.InstalledModel(name, quant, path, added=added, **fields)


def entries(fresh: Path) -> Path:
    """The folder of the inventory's entries."""
    return fresh / "state" / "models"


def test_nothing_is_kept_at_first(fresh: Path) -> None:
    assert catalog.installed_models() == []
    assert catalog.find_installed("r1") is None
    assert not fresh.exists()


def test_what_is_kept_is_read_as_it_was() -> None:
    parts = tuple(Path(f"/models/r1-0000{i}-of-00003.gguf") for i in (1, 2, 3))
    odd = Path("/mod\udcffels/a \x1b[31m\n.gguf")  # a name that is not UTF-8 is a name as well
    for one in (
        entry(files=parts, path=parts[0]),
        entry("odd", files=(odd,), path=odd),
        entry("b.c_d-0", "mine", how="converted"),
    ):
        catalog.add_installed(one)
        assert catalog.find_installed(one.name) == one


def test_paths_become_absolute_and_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    catalog.add_installed(entry(path=Path("a/../b.gguf")))
    found = catalog.find_installed("r1")
    assert found is not None
    assert found.files == (found.path,) == (tmp_path / "b.gguf",)


def test_order_and_names() -> None:
    for name, quant, added in (
        ("v3", "Q8_0", 2.0),
        ("r1", "Q4_K_M", 3.0),
        ("r1", "IQ1_S", 1.0),
        ("r1-0528", "Q2_K", 1.0),
    ):
        catalog.add_installed(entry(name, quant, added))
    assert [one.full_name for one in catalog.installed_models()] == [
        "r1:IQ1_S",
        "r1:Q4_K_M",
        "r1-0528:Q2_K",
        "v3:Q8_0",
    ]


FOUND = [
    ("r1", "r1:Q4_K_M"),  # the one added last
    ("R1", "r1:Q4_K_M"),
    ("r1:IQ1_S", "r1:IQ1_S"),
    ("R1:iq1_s", "r1:IQ1_S"),
    ("r1:Q8_0", None),
    ("r1:", None),
    ("r", None),
    ("r1:IQ1_S:x", None),
    ("", None),
    (":", None),
    ("../models/r1", None),
    ("r1\0", None),
]


@pytest.mark.parametrize(("name", "expected"), FOUND)
def test_finding(name: str, expected: str | None) -> None:
    catalog.add_installed(entry("r1", "Q4_K_M", 3.0))
    catalog.add_installed(entry("r1", "IQ1_S", 1.0))
    found = catalog.find_installed(name)
    assert (found.full_name if found else None) == expected


def test_a_quantization_of_its_own_argument() -> None:
    catalog.add_installed(entry("r1", "Q4_K_M"))
    assert catalog.find_installed("r1", "q4_k_m") == entry("r1", "Q4_K_M")
    assert catalog.find_installed("r1", "Q8_0") is None


def test_the_same_name_is_replaced_unless_that_was_not_meant(fresh: Path) -> None:
    catalog.add_installed(entry())
    catalog.add_installed(entry(added=5.0), replacing=False)  # the same file
    other = entry(path=Path("/models/other.gguf"), quant="q4_k_m")
    with pytest.raises(UsageError, match=r"r1:q4_k_m is /models/r1\.gguf already") as caught:
        catalog.add_installed(other, replacing=False)
    assert "--name" in caught.value.hint
    catalog.add_installed(other)
    assert catalog.installed_models() == [other]
    assert [file.name for file in entries(fresh).glob("*.json")] == ["r1@q4_k_m.json"]


UNKEEPABLE = [
    {"name": "R1"},
    {"name": ""},
    {"name": "-r1"},
    {"name": "a/b"},
    {"name": "../r1"},
    {"name": "r1:x"},
    {"name": "r\x1b[31m"},
    {"name": "r1\n"},
    {"name": "r" * 97},
    {"quant": ""},
    {"quant": "Q4/K"},
    {"quant": "Q4\n"},
    {"quant": "Q" * 33},
    {"nbytes": -1},
    {"nbytes": 1 << 60},
    {"nbytes": True},
    {"how": "stolen"},
    {"origin": "x" * 5000},
    {"added": float("nan")},
    {"added": float("inf")},
    {"added": -1.0},
    {"files": ()},
    {"files": (Path("/other.gguf"),)},
    {"files": tuple(Path(f"/models/{i}") for i in range(2000))},
]


@pytest.mark.parametrize("change", UNKEEPABLE, ids=lambda change: f"{change!r:.40}")
def test_what_cannot_be_kept_is_refused(fresh: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot be kept"):
        catalog.add_installed(replace(entry(), **change))
    assert catalog.installed_models() == []


GOOD = {
    "format": 1,
    "name": "r1",
    "quant": "Q4_K_M",
    "files": ["/models/r1.gguf"],
    "bytes": 10,
    "how": "imported",
    "origin": "ollama:r1:latest",
    "added": 1.0,
}
HOSTILE: list[tuple[str, Any]] = [
    *((f"without {key}", {k: v for k, v in GOOD.items() if k != key}) for key in GOOD),
    *((f"{key} is null", {**GOOD, key: None}) for key in GOOD),
    *((f"{key} is a list of lists", {**GOOD, key: [[]]}) for key in GOOD),
    *((f"{key} is an object", {**GOOD, key: {"a": 1}}) for key in GOOD),
    ("format 2", {**GOOD, "format": 2}),
    ("format true", {**GOOD, "format": True, "bytes": True}),
    ("another name", {**GOOD, "name": "r2"}),
    ("another quant", {**GOOD, "quant": "Q8_0"}),
    ("path in the name", {**GOOD, "name": "../r1"}),
    ("escapes in the name", {**GOOD, "name": "r1\x1b[2J"}),
    ("a relative path", {**GOOD, "files": ["models/r1.gguf"]}),
    ("a path that climbs", {**GOOD, "files": ["/models/../etc/passwd"]}),
    ("a NUL", {**GOOD, "files": ["/models/r1\0.gguf"]}),
    ("an empty path", {**GOOD, "files": [""]}),
    ("a long path", {**GOOD, "files": ["/" + "a" * 5000]}),
    ("no path", {**GOOD, "files": []}),
    ("a number for a path", {**GOOD, "files": ["/models/r1.gguf", 3]}),
    ("too many paths", {**GOOD, "files": ["/a"] * 2000}),
    ("negative bytes", {**GOOD, "bytes": -1}),
    ("absurd bytes", {**GOOD, "bytes": 1 << 70}),
    ("bytes true", {**GOOD, "bytes": True}),
    ("bytes 1.5", {**GOOD, "bytes": 1.5}),
    ("bytes in text", {**GOOD, "bytes": "10"}),
    ("how", {**GOOD, "how": "stolen"}),
    ("added true", {**GOOD, "added": True}),
    ("added far away", {**GOOD, "added": 1e300}),
    ("added NaN", json.dumps(GOOD).replace("1.0", "NaN")),
    ("a number of 5,000 digits", json.dumps(GOOD).replace("10,", "1" * 5000 + ",")),
    ("a long origin", {**GOOD, "origin": "x" * 5000}),
    ("not JSON", "{"),
    ("empty", ""),
    ("not UTF-8", "\udcff"),
    ("a list", [GOOD]),
    ("a text", "r1"),
    ("deep", "[" * 200_000),
    ("huge", json.dumps({**GOOD, "more": "x" * MAX_ENTRY})),
]


@pytest.mark.parametrize(
    "content", [content for _, content in HOSTILE], ids=[what for what, _ in HOSTILE]
)
def test_a_damaged_entry_is_passed_over_and_left(fresh: Path, content: Any) -> None:
    catalog.add_installed(entry("good"))
    file = entries(fresh) / "r1@q4_k_m.json"
    file.write_text(
        content if isinstance(content, str) else json.dumps(content),
        encoding="utf-8",
        errors="surrogateescape",
    )
    before = file.read_bytes()
    assert [one.name for one in catalog.installed_models()] == ["good"]
    assert catalog.find_installed("r1") is None
    assert catalog.remove_installed(entry()) is False
    assert file.read_bytes() == before
    catalog.add_installed(entry())
    assert catalog.find_installed("r1") == entry()


def test_the_good_entry_of_the_table_is_read(fresh: Path) -> None:
    entries(fresh).mkdir(parents=True)
    for extra in ({}, {"of a later version": [1]}, {"added": 1}):
        (entries(fresh) / "r1@q4_k_m.json").write_text(json.dumps({**GOOD, **extra}))
        assert catalog.installed_models() == [entry()]


def test_what_is_not_a_file_is_not_an_entry(fresh: Path, tmp_path: Path) -> None:
    catalog.add_installed(entry())
    real = entries(fresh) / "r1@q4_k_m.json"
    real.rename(tmp_path / "real.json")
    real.symlink_to(tmp_path / "real.json")
    os.mkfifo(entries(fresh) / "a@q8_0.json")  # which would never be read to its end
    (entries(fresh) / "b@q8_0.json").mkdir()
    (entries(fresh) / "notes.txt").write_text("nothing of ours")
    assert catalog.installed_models() == []


@pytest.mark.parametrize("in_the_way", [".", "state", "state/models"])
def test_a_home_that_is_a_file(fresh: Path, in_the_way: str) -> None:
    (fresh / in_the_way).parent.mkdir(parents=True, exist_ok=True)
    (fresh / in_the_way).write_text("in the way")
    assert catalog.installed_models() == []
    with pytest.raises(DslocalError, match="cannot be written to"):
        catalog.add_installed(entry())


def test_missing(tmp_path: Path) -> None:
    files = tuple(tmp_path / f"r1-0000{i}-of-00002.gguf" for i in (1, 2))
    one = entry(path=files[0], files=files)
    assert one.missing == files[0]
    files[0].touch()
    assert one.missing == files[1]
    files[1].symlink_to(tmp_path / "elsewhere")
    assert one.missing == files[1]
    (tmp_path / "elsewhere").touch()
    assert one.missing is None


def test_forgetting_touches_no_file_and_only_what_was_meant(tmp_path: Path, fresh: Path) -> None:
    path = tmp_path / "r1.gguf"
    path.touch()
    old, new = entry(path=path), entry(path=path, added=9.0)
    catalog.add_installed(old)
    catalog.add_installed(entry("v3"))
    catalog.add_installed(new)
    assert (
        catalog.remove_installed(old) is False
    )  # somebody else has kept another by that name meanwhile
    assert catalog.remove_installed(new) is True
    assert catalog.remove_installed(new) is False
    assert [one.name for one in catalog.installed_models()] == ["v3"]
    assert path.exists()


def test_processes_lose_nothing_of_each_other(fresh: Path) -> None:
    program = """
import sys
from pathlib import Path
from dslocal import catalog
mine = sys.argv[1]
for i in range(20):
    for name in (f"own-{mine}-{i}", "shared"):
        files = Path("/m.gguf"), (Path("/m.gguf"),)
        catalog.add_installed(
            catalog.InstalledModel(name, "Q8_0", *files, i, "imported", mine, float(i))
        )
    if i % 2:
        assert catalog.remove_installed(catalog.find_installed(f"own-{mine}-{i}"))
    assert catalog.find_installed("shared")
"""
    env = clean_environment() | {"DSLOCAL_HOME": str(fresh)}
    both = [
        subprocess.Popen([sys.executable, "-P", "-c", program, mine], env=env) for mine in "abc"
    ]
    assert [exit_code_of(process) for process in both] == [0, 0, 0]
    assert {one.name for one in catalog.installed_models()} == {
        "shared",
        *(f"own-{mine}-{i}" for mine in "abc" for i in range(0, 20, 2)),
    }
    assert {file.suffix for file in entries(fresh).iterdir() if file.name != ".lock"} == {".json"}


SLUGS = [
    ("DeepSeek R1 (Distill) Qwen-7B", "deepseek-r1-distill-qwen-7b"),
    ("deepseek-r1", "deepseek-r1"),
    ("V3.1_base", "v3.1_base"),
    ("  -- Привет, мир: 深度 r1 --", "r1"),
    ("../../etc/passwd", "etc-passwd"),
    ("\x1b[31mred", "31mred"),
    ("İstanbul", "i-stanbul"),
    ("a" * 200, "a" * 96),
    ("深度求索", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "name"), SLUGS)
def test_slug(text: str, name: str) -> None:
    assert model_slug(text) == name
    if name:
        catalog.add_installed(entry(model_slug(text)))
