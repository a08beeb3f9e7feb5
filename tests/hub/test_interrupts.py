"""Proves that Ctrl-C ends a wait for a hub at whatever moment it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import utils
from huggingface_hub.utils import close_session
from support.hub.hub_runs import REPO, Rig
from support.waiting import output_of, wait_until

from dslocal.errors import DownloadError
from dslocal.hub.fetch import PARTIAL, fetch_file
from dslocal.hub.manifest import Manifest, RemoteFile
from dslocal.hub.repository import HubRepository

SHARDS = "*.safetensors"
STALLED_S = "600"  # the run would wait so long for a silent hub
HANDLED_ELSEWHERE = """
import signal, sys, threading
sys.argv[0] = "dslocal"
from dslocal.cli.main import main

def on_line():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=on_line, daemon=True).start()
main()
"""


@pytest.mark.parametrize(
    ("pattern", "more"),
    [("config.json", ()), (SHARDS, ()), ("config.json", ("--stream",)), (SHARDS, ("--stream",))],
)
def test_ctrl_c_when_the_hub_is_silent(calm: Rig, pattern: str, more: tuple[str, ...]) -> None:
    """It does not wait for a time-out."""
    calm.hub.fault(pattern, "stall", times=None, at=100, method="GET")
    limit = {"HF_HUB_DOWNLOAD_TIMEOUT": STALLED_S}
    with calm.start("convert", REPO, *more, env=limit) as process:
        wait_until(lambda: calm.hub.faults_done, process)
        process.send_signal(signal.SIGINT)
        _, complaint = output_of(process)
    assert (process.returncode, calm.left()) == (130, [])
    assert complaint.splitlines()[-1] == "dslocal: stopped at 0%; repeat the command to continue"
    assert "Traceback" not in complaint


@pytest.mark.parametrize("command", ["convert", "pull"])
def test_a_signal_that_does_not_end_the_read(calm: Rig, command: str) -> None:
    calm.hub.fault("config.json", "stall", times=None, at=100, method="GET")
    _interrupt_silently(calm, command)


@pytest.mark.parametrize(
    ("pattern", "method"),
    [("/*/resolve/*.safetensors", "HEAD"), ("/*/xet-read-token/*", "GET"), ("/v?/*", "GET")],
    ids=["is it in the store", "where is the store", "the store"],
)
def test_such_a_signal_while_a_xet_store_is_asked(calm: Rig, pattern: str, method: str) -> None:
    calm.hub.xet = True
    calm.hub.fault(pattern, "stall", times=None, method=method)
    _interrupt_silently(calm, "convert")


def _interrupt_silently(rig: Rig, command: str) -> None:
    """Send a signal that does not end the read, as one that comes just before it begins: here the
    main thread is not the one that gets it.
    """
    timeouts = {"HF_HUB_DOWNLOAD_TIMEOUT": STALLED_S, "HF_HUB_ETAG_TIMEOUT": STALLED_S}
    with subprocess.Popen(
        [sys.executable, "-c", HANDLED_ELSEWHERE, command, f"hf:{REPO}"],
        env=rig.env(timeouts),
        cwd=rig.out,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: rig.hub.faults_done, process)
        time.sleep(0.3)  # so that it reads; a signal before that is handled all the more
        _, complaint = output_of(process, "\n")
    assert process.returncode == 130, complaint
    assert "Traceback" not in complaint


def test_no_request_imports_what_discards_a_signal(
    calm: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import discards what is raised while it looks up an attribute of this module."""
    HubRepository(REPO, endpoint=calm.hub.url).manifest()
    touched: list[str] = []

    class Watched(type(utils)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> object:
            touched.append(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(utils, "__class__", Watched)
    remote = HubRepository(REPO, endpoint=calm.hub.url)
    manifest = remote.manifest()
    file = manifest.files["config.json"]
    assert b"".join(remote.read_range(manifest, file, 0, file.size))
    assert touched == []
    close_session()


def test_what_comes_after_the_stop_is_not_written(tmp_path: Path) -> None:
    """A stream's end does not wait for a silent server: another run may be at work by then."""
    stop = threading.Event()
    file = RemoteFile("x.bin", 4, "0" * 64)
    manifest = Manifest("hf:test/x", "x", "0" * 40, {file.name: file})

    class Silent:
        origin = "hf:test/x"

        def manifest(self) -> Manifest:
            return manifest

        def read_range(self, _: Manifest, __: RemoteFile, *___: int) -> Iterator[bytes]:
            yield b"ab"
            stop.set()
            yield b"cd"

        def fetch_quickly(self, *_: object) -> bool:
            return False

    with pytest.raises(DownloadError, match="stopped"):
        fetch_file(Silent(), manifest, file, tmp_path / file.name, stop=stop)
    assert (tmp_path / f"{file.name}{PARTIAL}").read_bytes() == b"ab"
