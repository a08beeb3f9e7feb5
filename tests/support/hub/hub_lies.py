"""What tests of a lying hub share: a refused run, and a look at everything around its folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from support.cli.running import Done
from support.hub.hub_runs import REPO, Rig, listing

OUT = "v3-like-Q4_K_M.gguf"
SHARD = "model-00002-of-00003.safetensors"
INDEX = "model.safetensors.index.json"
SHA1 = "cd" * 20
READ_AHEAD = 16 << 20  # bytes that may be on their way when somebody hangs up


def around(folder: Path) -> dict[str, bytes | None]:
    """Every file in ``folder`` that does not belong to ``rig``, and its content."""
    names = [name for name in listing(folder) if not name.startswith("rig/")]
    return {
        name: (folder / name).read_bytes() if (folder / name).is_file() else None for name in names
    }


def convert(it: Rig, *more: str) -> Done:
    """Convert the checkpoint of the rig's hub."""
    return it.inside("convert", REPO, *more)


def refuse(it: Rig, more: Iterable[str], words: str, codes: Iterable[int] = (1, 3)) -> None:
    """Require that a run ends in one line with ``words``, and leaves nothing like a model."""
    done = convert(it, *more)
    said = done.stderr.decode()
    lines = [line for line in said.splitlines() if line.startswith("dslocal: ")]
    assert done.returncode in codes, said
    assert (done.stdout, len(lines)) == (b"", 1), said
    assert words in lines[0]
    assert all(
        line.startswith(("dslocal: ", "fetching ", "converting ")) for line in said.splitlines()
    )
    assert len(lines[0]) < 1000
    assert all(character == "\n" or character.isprintable() for character in said)
    assert not (it.out / OUT).exists()
