"""What mkdocs does beside rendering: generated pages, plots, and links between topics.

The command-line reference comes from Typer, the tables and plots of benchmarks from
docs/benchmarks/data, each when the site is built, so that none of them can be out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import benchmark_pages
import cli_reference
import clone_and_site
import family_table
import plots

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

CLI_PAGE = "reference/cli.md"
TOPIC = re.compile(r'^--8<-- "dslocal/topics/([\w-]+)\.md"', re.MULTILINE)
TOPIC_COMMAND = re.compile(r"<code>dslocal help ([a-z-]+)</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the command-line reference and the plots."""
    from mkdocs.structure.files import File

    if files.get_file_from_path(CLI_PAGE) is None:
        files.append(File.generated(config, CLI_PAGE, content=cli_reference.reference()))
    for name, svg in plots.all_plots():
        files.append(File.generated(config, f"benchmarks/plots/{name}.svg", content=svg))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put tables where a page asks for them, and leave out what readers of a clone need."""
    page_text = clone_and_site.for_site(markdown)
    return family_table.with_families(benchmark_pages.with_tables(page_text))


def on_page_content(html: str, page: Page, files: Files, **_: Any) -> str:
    """Link ``dslocal help TOPIC`` to the page that shows the topic."""
    pages = topic_pages(files)

    def linked(found: re.Match[str]) -> str:
        file = pages.get(found[1])
        if file is None or file is page.file:
            return found[0]
        return f'<a href="{file.url_relative_to(page.file)}">{found[0]}</a>'

    return TOPIC_COMMAND.sub(linked, html)


def topic_pages(files: Iterable[Any]) -> dict[str, Any]:
    """Return the file of the page that includes each help topic."""
    found: dict[str, Any] = {}
    for file in files:
        if file.src_uri.endswith(".md") and file.src_uri != CLI_PAGE:
            for name in TOPIC.findall(file.content_string):
                found[name] = file
    return found
