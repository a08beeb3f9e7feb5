"""Keep the documentation whole without building it: links, navigation, references, one source for
each text, and figures that say where they are from.

``.ci/run`` builds the site itself, strictly.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from support.docs.markdown import FENCE, ROOT, documents
from typer.main import get_command

import dslocal
from dslocal.cli.help_topics import topic_names
from dslocal.cli.main import app
from dslocal.prompts import FAMILIES

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GENERATED = {"reference/cli.md"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
SNIPPET = re.compile(r'^--8<-- "([^":]+)', re.MULTILINE)
LONG_TEXT = 100  # characters of a paragraph that must not stand in two documents
MAX_README_LINES = 150


@pytest.fixture(scope="module")
def tools() -> Iterator[Any]:
    """Import a module of docs/tools by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "tools"))

        def load(name: str) -> ModuleType:
            return importlib.import_module(name)

        yield load
    for name in (
        "benchmark_pages",
        "cli_reference",
        "clone_and_site",
        "family_table",
        "python_reference",
    ):
        sys.modules.pop(name, None)


def prose(file: Path) -> str:
    return FENCE.sub("", file.read_text(encoding="utf-8"))


def missing(file: Path, text: str) -> list[str]:
    """The places inside the site that links of ``text`` lead to and that a clone does not have."""
    targets = [link for link in LINK.findall(text) if not re.match(r"(https?:|#)", link)]
    places = [(file.parent / link.partition("#")[0]).resolve() for link in targets]
    return [os.path.relpath(place, DOCS) for place in places if not place.exists()]


def test_links_lead_somewhere(tools: Any) -> None:
    site = tools("clone_and_site").FOR_THE_SITE
    for file in documents():
        text = prose(file)
        assert missing(file, site.sub("", text)) == [], file
        for place in missing(file, "".join(site.findall(text))):
            assert place in GENERATED or place.startswith("benchmarks/plots/"), file


def test_a_clone_has_a_link_to_what_the_site_includes(tools: Any) -> None:
    module = tools("clone_and_site")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in SNIPPET.findall(text):
            link = f"]({os.path.relpath(ROOT / name, page.parent)}"
            assert any(link in note for note in module.FOR_CLONES.findall(text)), (page, name)
            assert "In a clone" not in module.for_site(text)


def test_what_the_site_shows_of_a_page(tools: Any) -> None:
    page = "# A\n\nIn a clone, read\nB.\n\nC<!-- site: , [D](d.md) -->.\n\nIn a clone, E.\n"
    assert tools("clone_and_site").for_site(page) == "# A\n\nC, [D](d.md).\n\n"


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                yield from pages(inner)

    assert sorted(pages(config["nav"])) == sorted(
        {page.relative_to(DOCS).as_posix() for page in PAGES} | GENERATED
    )


def test_every_topic_is_one_page() -> None:
    included = [
        Path(name).stem
        for page in PAGES
        for name in SNIPPET.findall(page.read_text(encoding="utf-8"))
        if name.startswith("dslocal/topics/")
    ]
    assert sorted(included) == topic_names()


def test_what_pages_include_exists() -> None:
    for page in PAGES:
        for name in SNIPPET.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{page}: {name}"


def test_no_text_stands_twice() -> None:
    seen: dict[str, Path] = {}
    for file in documents():
        for paragraph in re.split(r"\n\s*\n", prose(file)):
            text = " ".join(paragraph.split())
            if len(text) < LONG_TEXT or text.startswith("#"):
                continue
            assert text not in seen, f"{file} and {seen[text]}: {text}"
            seen[text] = file


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_every_public_name_is_in_the_python_reference() -> None:
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    documented = [path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)", page, re.MULTILINE)]
    assert sorted(documented) == sorted(set(dslocal.__all__) - {"__version__"})
    for path in re.findall(r"^::: (\S+)", page, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__, path


def test_the_tables_of_public_names_are_current(tools: Any) -> None:
    """Proves that a clone, too, shows each name with the first line of its docstring."""
    module = tools("python_reference")
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    assert module.with_tables(page) == page, "python docs/tools/python_reference.py renews it"
    for path in re.findall(r"^::: (\S+)", page, re.MULTILINE):
        row = re.search(rf"^\| `{path.rpartition('.')[2]}` \| (.+) \|$", page, re.MULTILINE)
        assert row, path
        assert row[1].endswith("."), row[0]
        assert len(row[1]) < 160, row[0]


def test_the_command_line_reference_is_complete(tools: Any) -> None:
    page = tools("cli_reference").reference()
    root: Any = get_command(app)
    for name, command in root.commands.items():
        section = page.partition(f"\n## dslocal {name} {{")[2].partition("\n## ")[0]
        assert section, name
        for param in command.params:
            is_option = param.opts[0].startswith("-")
            if is_option and not getattr(param, "hidden", False):
                assert param.opts[-1] in section, (name, param.opts)


def test_every_family_is_in_the_table(tools: Any) -> None:
    table = tools("family_table").table()
    assert [name for name in FAMILIES if f"| `{name}` |" not in table] == []
    assert "<!-- families -->" in (DOCS / "reference" / "families.md").read_text(encoding="utf-8")


def test_figures_say_where_they_are_from(tools: Any) -> None:
    pages = tools("benchmark_pages")
    files = sorted(path.stem for path in pages.DATA.glob("*.toml"))
    shown = {path.stem for path in (DOCS / "benchmarks").glob("*.md")} - {"index"}
    assert set(files) == shown
    for name in files:
        text = (DOCS / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
        assert f"<!-- about: {name} -->" in text
        rendered = pages.with_tables(text)
        assert "<!-- table" not in rendered
        for title in pages.TITLES.values():
            assert f"| **{title}** |" in rendered
        for table in pages.recorded(name)["tables"].values():
            assert all(len(row) == len(table["columns"]) for row in table["rows"]), name


def test_a_record_without_its_origin_is_refused(tools: Any, tmp_path: Path) -> None:
    pages = tools("benchmark_pages")
    (tmp_path / "bad.toml").write_text('[about]\ndate = "2026-12-01"\n', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "DATA", tmp_path)
        with pytest.raises(ValueError, match="machine, command, versions, origin, not_measured"):
            pages.recorded("bad")
