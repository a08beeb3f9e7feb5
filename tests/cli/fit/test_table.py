"""Proves the table of ``dslocal fit``: every model, its quantization, and what to take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cli.fit_answers import MACHINES, QWEN, V3, check, one, table, text
from support.cli.running import Run
from support.machines.planning import REGISTRY

from dslocal.cli.chatting.introduction import introduction
from dslocal.cli.session_setup import ModelFile
from dslocal.gguf.header import read_header
from dslocal.prompts import FAMILIES
from dslocal.terminal.reports import fit_table

GROUPS = {
    "cannot run here": ("–", ["no"]),
    "from the SSD": ("SSD", ["ssd"]),
    "slow: less than 8 tokens a second": (None, ["gpu", "offload", "cpu"]),
    "runs well here": (None, ["gpu", "offload", "cpu"]),
}
PLACES = {"gpu": "GPU", "offload": "both", "cpu": "CPU", "ssd": "SSD", "no": "–"}


def middle(row: dict[str, Any]) -> float:
    speed = row["tokens_per_s"]
    return float((speed["low"] * speed["high"]) ** 0.5)


@pytest.mark.parametrize("args", MACHINES, ids=" ".join)
def test_table(run: Run, args: list[str]) -> None:
    shown, rows = text(run, *args, "--all"), table(run, *args)
    assert list(rows) == [
        entry.name
        for entry in sorted(REGISTRY.values(), key=lambda entry: (entry.parameters, entry.name))
    ]
    group = ""
    seen: set[str] = set()
    titles: list[str] = []
    header = next(line for line in shown.splitlines() if line.startswith("  model "))
    for line in shown.splitlines():
        words = line.removeprefix("→").split()
        if line in GROUPS:
            group = line
            titles.append(line)
        elif words and words[0] in rows and not line.startswith("Take"):
            row = rows[words[0]]
            seen.add(words[0])  # every model, its name whole
            assert row["verdict"] in GROUPS[group][1]
            assert words[1:3] == [row["quant"], PLACES[row["verdict"]]]
            if row["verdict"] in ("gpu", "offload", "cpu"):
                assert (middle(row) >= 7.99) == (group == "runs well here")
            assert "…" not in line
            assert len(line) == len(header)  # the figures are below their titles
    assert seen == set(rows)
    assert titles == [title for title in GROUPS if title in titles]  # what runs well stands last


LARGE_MACHINES = [
    ["--ram", "128GB", "--vram", "24GB"],
    ["--ram", "512GB", "--vram", "80GB"],
    ["--ram", "2TB", "--vram", "80GB", "--quant", "Q8_0"],
]


@pytest.mark.parametrize("args", LARGE_MACHINES, ids=" ".join)
def test_no_row_is_wider_than_a_terminal(
    run: Run,
    args: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each model of the catalog, in each of its quantizations, wherever it may run."""
    printed: list[tuple[Any, ...]] = []
    print_table = fit_table.print_table
    monkeypatch.setattr(fit_table, "print_table", lambda *args, **_: printed.append(args))
    assert run.inside("fit", *args, "--all").returncode == 0
    ((found, *others),) = printed
    rows = [
        replace(row, model=replace(row.model, quant=quant), plan=replace(row.plan, verdict=verdict))
        for row in found
        for quant in REGISTRY[row.model.name].quants
        for verdict in PLACES
    ]
    assert len(rows) > 1000
    print_table(rows, *others)
    table_lines = capsys.readouterr().out.splitlines()[1:]  # below the machine, which is wrapped
    assert [line for line in table_lines if len(line) > 80] == []


@pytest.mark.parametrize("args", MACHINES, ids=" ".join)
def test_what_few_people_want_is_shown_with_all_alone(run: Run, args: list[str]) -> None:
    shown, rows = text(run, *args), table(run, *args)
    names = {line.removeprefix("→").split()[0] for line in shown.splitlines() if line.strip()}
    usual = {n for n, row in rows.items() if REGISTRY[n].is_usual and row["verdict"] != "no"}
    assert names & set(rows) <= usual
    assert "more: --all" in shown
    # on a small terminal the end is what one sees: what runs well, and what to take
    last = shown.splitlines()[-23:]
    if any(
        rows[name]["verdict"] in PLACES and middle(rows[name]) >= 8 for name in names & set(rows)
    ):
        assert "runs well here" in last


@pytest.mark.parametrize("args", [*MACHINES, ["--ram", "64GB", "--gpu", "RTX 4090"]], ids=" ".join)
def test_the_best_few_models_fit_on_a_screen(run: Run, args: list[str]) -> None:
    """Proves that a screen of 80 by 24 shows all of it, and of each group something."""
    shown, rows = text(run, *args).splitlines(), table(run, *args)
    assert len(shown) + 2 <= 24  # with the command and the next prompt
    names = {line.removeprefix("→").split()[0] for line in shown if line.strip()} & set(rows)
    usual = {n for n, row in rows.items() if REGISTRY[n].is_usual and row["verdict"] != "no"}
    kinds = [{rows[name]["verdict"] == "ssd" for name in some} for some in (names, usual)]
    assert kinds[0] == kinds[1]
    hidden = next(line for line in shown if "more: --all" in line)
    assert f"{len(rows) - len(names)} more: --all" in hidden
    well = {name for name in usual if rows[name]["verdict"] in PLACES and middle(rows[name]) >= 8}
    if names != usual and rows and well - names:
        assert len(shown) + 2 == 24  # nothing is hidden that has room


RECOMMENDED = [
    (["--ram", "64GB", "--vram", "24GB"], "deepseek-r1-distill-qwen-32b"),
    (
        ["--ram", "32GB", "--gpu", "RTX 3060", "--cpu", "Ryzen 5 5600X"],
        "deepseek-r1-distill-qwen-14b",
    ),
    (["--ram", "512GB", "--os", "macos", "--chip", "M3 Ultra"], "deepseek-r1-0528"),
    (["--ram", "16GB", "--os", "macos", "--chip", "M2"], "deepseek-r1-0528-qwen3-8b"),
]


@pytest.mark.parametrize(("args", "name"), RECOMMENDED)
def test_one_model_is_recommended_with_its_command(run: Run, args: list[str], name: str) -> None:
    shown = text(run, *args).splitlines()
    found = json.loads(run.inside("fit", "--json", *args).stdout)
    quant = next(row["quant"] for row in found["models"] if row["model"] == name)
    assert found["recommended"] == name
    assert shown[-2].startswith(f"Take this one: {name} {quant}, ")
    assert shown[-1] == f"  dslocal pull {name}"
    assert any(line.startswith(f"→ {name}") for line in shown)


def test_table_takes_the_quantization_to_take_here(run: Run) -> None:
    rows = table(run)
    found = {name: (row["quant"], row["verdict"]) for name, row in rows.items()}
    assert found["deepseek-r1-distill-qwen-1.5b"] == ("Q8_0", "cpu")  # fast enough
    assert found[QWEN] == ("Q4_K_M", "cpu")  # none is: the fastest that is good
    assert found["deepseek-r1-distill-qwen-14b"] == ("Q4_K_M", "cpu")  # Q8_0 does not fit
    assert found[V3] == ("Q2_K", "ssd")
    for name in (QWEN, "deepseek-r1-distill-qwen-1.5b", V3):
        assert one(run, name)["quant"] == rows[name]["quant"]  # the same wherever one looks
    assert {row["quant"] for row in table(run, "--quant", "Q3_K_M").values()} == {"Q3_K_M"}


def test_table_with_overrides(run: Run) -> None:
    rows = table(run, "--ctx", "8192", "--kv", "q4_0")
    assert {row["plan"]["kv_type"] for row in rows.values()} == {"q4_0"}
    assert rows[V3]["plan"]["n_ctx"] == 8192
    assert rows["deepseek-llm-7b-chat"]["plan"]["n_ctx"] == 4096  # it has no more


@pytest.mark.parametrize("args", MACHINES, ids=" ".join)
def test_json_fields(run: Run, args: list[str]) -> None:
    for row in table(run, *args).values():
        check(row)


def test_one_recommendation_has_one_figure(run: Run, nano: Path) -> None:
    """Proves that the table, the model's own plan, ``pull`` and the chat say the same."""
    table_line = next(line for line in text(run).splitlines() if line.startswith("Take this one: "))
    name, what = table_line.removeprefix("Take this one: ").split(" ", 1)
    quant, speed, size = what.split(", ")
    report = text(run, name)
    assert f"{name}, {quant}\n" in report
    assert f"forecast  {speed} (" in report
    assert f"download  {size}, " in report
    pulled = run.inside("pull", name, "--dry-run", env={"HF_HUB_OFFLINE": "1"}).stdout.decode()
    assert f"{name} {quant}: about {size} to download" in pulled
    assert f"about {speed}\n" in pulled
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(run.home))
        shown = introduction(ModelFile(nano, read_header(nano), FAMILIES["r1"]))
    assert f"dslocal pull {name}, in the shell ({what})" in " ".join(shown)
