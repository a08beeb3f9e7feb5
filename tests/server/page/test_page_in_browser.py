"""Proves in Chromium that the page works, looks right at every width, and that answers are inert.

The scripts are in ``tests/server/page_browser``; its README says what they need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.cli.running import clean_environment
from support.server.page_client import PageClient
from support.server.page_texts import HOSTILE, RICH
from support.server.serving import serving

from dslocal import chat
from dslocal.prompts import Message

FOLDER = Path(__file__).parents[1] / "page_browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
KEY = "correct-horse-battery"
OTHER = "other"
TIMEOUT_S = 840  # on a machine with other work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def browser() -> str:
    """The browser's program."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium")
    if shutil.which("node") is None or not (FOLDER / "node_modules" / "playwright-core").exists():
        pytest.skip(f"npm install in {FOLDER} gets playwright-core")
    return found


def keep(page: PageClient, messages: list[Message]) -> str:
    """Put a conversation on the server's disk, and return its id."""
    with page.on_disk():
        stored = chat.new_conversation("nano")
        stored.save(messages)
        stored.close()
    return stored.id


@pytest.fixture(scope="module")
def environment(
    nano: Path,
    new_home: Callable[[str], Path],
    browser: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, str]]:
    """Two servers, and what the scripts want to know of them."""
    home = new_home("page")
    other = tmp_path_factory.mktemp("models") / f"{OTHER}.gguf"
    shutil.copy(nano, other)
    key = tmp_path_factory.mktemp("key") / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    out = Path(os.environ.get("PAGE_OUT") or tmp_path_factory.mktemp("screenshots"))
    out.mkdir(parents=True, exist_ok=True)
    with (
        serving(home, str(other), "--ctx", "4096", "--parallel", "2") as served,
        serving(home, "--ctx", "1024", "--parallel", "1", "--api-key", str(key)) as keyed,
    ):
        page = PageClient(served)
        yield {
            **clean_environment(),
            "PAGE_URL": f"http://127.0.0.1:{served.port}",
            "PAGE_KEYED_URL": f"http://127.0.0.1:{keyed.port}",
            "PAGE_KEY": KEY,
            "PAGE_MODEL": "nano",
            "PAGE_OTHER_MODEL": OTHER,
            "PAGE_RICH": keep(page, RICH),
            "PAGE_HOSTILE": keep(page, HOSTILE),
            "PAGE_OUT": str(out),
            "CHROMIUM": browser,
        }


@pytest.mark.parametrize("script", ["chat", "hostile", "access", "looks"])
def test_in_the_browser(environment: Mapping[str, str], script: str) -> None:
    command = ["node", "--test", "--test-reporter=tap", f"{script}.test.mjs"]
    done = subprocess.run(
        command,
        cwd=FOLDER,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
