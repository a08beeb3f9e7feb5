"""Run dslocal against a local hub, as a process or inside this one, and see what it leaves.

Everything that a run may write to lies below ``Rig.root``, so that one look tells what was written,
and one sum how much.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer.main
from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import close_session
from support.cli.running import BINARY, Done, Run, clean_environment
from support.hub.local_hub import LocalHub
from support.waiting import output_of

import dslocal.convert as converter
from dslocal.gguf.header import read_header
from dslocal.hub import http

REPO = "test/v3-like"
LIMIT_S = 120
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}

_CONTEXTS, _COMMANDS = (
    functools.cache(ssl.create_default_context),
    functools.cache(typer.main.get_command),
)  # which cost 50 ms each


@dataclass
class Rig:
    """A hub, and folders for dslocal (``home``), huggingface_hub (``hf``) and outputs (``out``)."""

    hub: LocalHub
    root: Path
    sleeps: list[float] = field(
        default_factory=list
    )  # waits of runs inside this process, which do not happen

    def __post_init__(self) -> None:
        for folder in (self.home, self.hf, self.out):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        """Return DSLOCAL_HOME."""
        return self.root / "home"

    @property
    def hf(self) -> Path:
        """Return Hugging Face's home."""
        return self.root / "hf"

    @property
    def out(self) -> Path:
        """Return the folder of outputs, in which runs start."""
        return self.root / "out"

    @property
    def cached(self) -> Path:
        """Where huggingface_hub keeps ``REPO``."""
        return self.hf / "hub" / f"models--{REPO.replace('/', '--')}"

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a run."""
        mine = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.hf),
            "DSLOCAL_HOME": str(self.home),
            **QUIET,
        }
        kept = {
            name: value for name, value in clean_environment().items() if not name.startswith("HF_")
        }
        return kept | mine | dict(more or {})

    def start(
        self, *args: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """The real ``dslocal``, working in the folder of outputs."""
        command = [str(BINARY), *map(str, args)]
        return subprocess.Popen(
            command,
            env=self.env(env),
            cwd=self.out,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *args: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run dslocal as a process."""
        with self.start(*args, env=env) as process:
            out, err = output_of(process, limit_s=LIMIT_S)
        return subprocess.CompletedProcess(list(map(str, args)), process.returncode, out, err)

    def inside(
        self,
        *args: str | Path,
        token: str = "",
        offline: bool = False,
        silence_s: float = LIMIT_S,
    ) -> Done:
        """The same without a process, and without waiting between tries.

        After ``silence_s`` without a byte the hub is given up.
        """
        settings: dict[str, object] = {
            "ENDPOINT": self.hub.url,
            "HF_HUB_CACHE": str(self.hf / "hub"),
            "HF_HUB_OFFLINE": offline,
        }
        settings |= {
            "HF_TOKEN_PATH": str(self.hf / "token"),
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DOWNLOAD_TIMEOUT": silence_s,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setattr(constants, name, value)
            patch.setattr(ssl, "create_default_context", _CONTEXTS)
            patch.setattr(typer.main, "get_command", _COMMANDS)
            for name, value in {"TIMEOUT_S": silence_s, "pause": self._pause}.items():
                patch.setattr(http, name, value)
            close_session()
            try:
                return Run(self.home).inside(*args, env={**QUIET, "HF_TOKEN": token}, cwd=self.out)
            finally:
                close_session()

    def _pause(self, seconds: float, stop: threading.Event | None) -> None:
        self.sleeps.append(seconds)
        if stop is not None and stop.is_set():
            raise http.stopped_error()

    def left(self) -> list[str]:
        """Every file and link in the folder of outputs."""
        return listing(self.out)


@contextlib.contextmanager
def rig(root: Path, checkpoint: Path | None = None) -> Iterator[Rig]:
    """A hub with ``checkpoint`` as ``REPO``, and folders below ``root``."""
    with LocalHub() as hub:
        if checkpoint is not None:
            hub.add(REPO, checkpoint)
        yield Rig(hub, root)


def real_download(
    hub: LocalHub, cache: Path, *, local_dir: Path | None = None, local_files_only: bool = False
) -> Path:
    """``REPO`` by the real client, without its noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        patch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        close_session()
        try:
            folder = snapshot_download(
                REPO,
                endpoint=hub.url,
                cache_dir=cache,
                local_dir=local_dir,
                token=False,
                local_files_only=local_files_only,
                max_workers=2,
            )
        finally:
            close_session()
    return Path(folder)


def downloaded(checkpoint: Path, folder: Path, *, plainly: bool = False) -> Path:
    """Download ``checkpoint`` from a hub with the real client.

    Returns a snapshot in its cache, or a plain folder.
    """
    with LocalHub() as hub:
        hub.add(REPO, checkpoint)
        return real_download(
            hub, folder / "cache", local_dir=folder / "v3-like" if plainly else None
        )


def converted(folder: Path, out: Path) -> Path:
    """What becomes of the checkpoint in ``folder``, with the recipe of all these tests."""
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(folder)),
        [converter.recipe_named("Q4_K_M")],
    )
    return converter.write_gguf(plan, [out])[0].path


def tensors_of(path: Path) -> dict[str, tuple[object, bytes]]:
    """Every tensor of a GGUF file: its shape and type, and its bytes."""
    header, data = read_header(path), path.read_bytes()
    starts = {t.name: header.data_start + t.offset for t in header.tensors}
    return {
        t.name: ((t.shape, t.type), data[starts[t.name] : starts[t.name] + t.nbytes])
        for t in header.tensors
    }


def listing(folder: Path) -> list[str]:
    """Every file and link below ``folder``, by path."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def shards_of(checkpoint: Path) -> list[str]:
    """Return the names of a checkpoint's shards, in order."""
    return sorted(path.name for path in checkpoint.glob("*.safetensors"))


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class DiskWatch:
    """Adds up, every few milliseconds, what everything below ``root`` takes on the disk.

    ``peak`` is the most, in bytes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> DiskWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.003):
            self.peak = max(self.peak, _taken(str(self._root)))


def _taken(folder: str) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # gone meanwhile
                total += (
                    _taken(entry.path)
                    if entry.is_dir(follow_symlinks=False)
                    else entry.stat(follow_symlinks=False).st_blocks * 512
                )
    return total
