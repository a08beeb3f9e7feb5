"""The source of a conversion: a folder, or a published checkpoint, downloaded whole or by shard."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.catalog import resolve
from dslocal.errors import GgufError, NotFoundError, UsageError

if TYPE_CHECKING:
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.convert import ConversionPlan, Source

    from .progress import WorkProgress

STREAMED_AT_ONCE = 2  # shards on the disk


def find(
    text: str, revision: str | None, *, stream: bool
) -> resolve.LocalCheckpoint | PublishedLocation:
    """Return the checkpoint that ``text`` means, on this machine or published.

    Raises:
        NotFoundError: the checkpoint does not exist.
        UsageError: it is not a checkpoint, or cannot be streamed.
    """
    from dslocal.catalog.locations import find_published

    place = find_published(text, revision=revision)
    if place is not None:
        if place.file:
            raise UsageError(
                f"{text!r:.200}: is one file; a checkpoint is needed",
                hint="leave out the file's name; dslocal pull downloads GGUF files",
            )
        if place.quant:
            raise UsageError(
                f"{text!r:.200}: a checkpoint has no {place.quant}",
                hint=f"leave it out of the name, and use --quant {place.quant}",
            )
        if place.entry and place.entry.weights == "pytorch":
            raise NotFoundError(
                f"{place.entry.repository} has no safetensors, only pickled weights,"
                " which are never opened",
                hint="use a --revision that has them, or dslocal pull, which finds a ready-made "
                "GGUF if there is one",
            )
        return place
    if revision is not None:
        raise UsageError(f"--revision: {text!r:.100} is not a model of the Hugging Face Hub")
    found = resolve.resolve_model(text)
    if isinstance(found, Path):
        raise _not_a_folder(found)
    if stream:
        raise UsageError(
            f"--stream: {found.name} is on this machine already",
            hint="leave out --stream to read it there",
        )
    return found


def _not_a_folder(file: Path) -> UsageError:
    """Return the error for a file that is given instead of a checkpoint folder."""
    from dslocal.gguf.header import read_header

    if file.suffix in (".safetensors", ".json", ".bin"):
        return UsageError(
            f"{file}: is a file; a checkpoint folder is needed",
            hint=f"dslocal convert {shlex.quote(str(file.parent))}",
        )
    try:
        read_header(file)
    except GgufError as e:
        return UsageError(
            f"{file}: is a file; a checkpoint folder is needed",
            hint="; ".join(filter(None, (str(e), e.hint))),
        )
    named = shlex.quote(str(file))
    return UsageError(
        f"{file}: is a GGUF file; a checkpoint folder is needed",
        hint=f"use it directly with dslocal ask -m {named}; another quantization is best made from "
        f"the original checkpoint, or else with dslocal quantize {named}",
    )


@contextmanager
def opened(
    found: resolve.LocalCheckpoint | PublishedLocation,
    out: Path,
    progress: WorkProgress,
    *,
    stream: bool,
) -> Iterator[Source]:
    """Yield the files of ``found``. With ``stream`` they are downloaded one by one, beside ``out``;
    without it, a published checkpoint is downloaded whole.
    """
    import dslocal.convert as converter

    def say(line: str) -> None:
        progress.log(f"dslocal: {line}")

    if isinstance(found, resolve.LocalCheckpoint):
        yield converter.FolderSource(found.folder)
    elif stream:
        from dslocal.hub.shard_stream import stream_checkpoint

        with stream_checkpoint(
            found.remote, out, on_progress=progress.on_fetch, notify=say
        ) as source:
            yield source
    else:
        from dslocal.hub.download import download_checkpoint

        folder = download_checkpoint(
            found.remote, found.patterns, on_progress=progress.on_fetch, notify=say
        )
        downloaded = converter.FolderSource(folder)
        _keep(found, folder, downloaded.revision)
        yield downloaded


def _keep(place: PublishedLocation, folder: Path, revision: str) -> None:
    """Register a checkpoint that was downloaded whole, so that dslocal models shows it and dslocal
    rm deletes it.
    """
    import time

    from dslocal import catalog

    matching = [
        file
        for file in folder.iterdir()
        if file.is_file() and any(file.match(pattern) for pattern in place.patterns)
    ]
    # the inventory opens the first file: config.json, though others sort before it
    files = tuple(sorted(matching, key=lambda file: (file.name != "config.json", file.name)))
    origin = (
        f"{place.remote.origin.partition('@')[0]}@{revision}" if revision else place.remote.origin
    )
    nbytes = sum(file.stat().st_size for file in files)
    known = catalog.find_installed(place.name, catalog.CHECKPOINT)
    if known is None or known.files != files:
        catalog.add_installed(
            catalog.InstalledModel(
                place.name,
                catalog.CHECKPOINT,
                folder / "config.json",
                files,
                nbytes,
                "downloaded",
                origin,
                time.time(),
            )
        )


def is_whole_here(place: PublishedLocation) -> bool:
    """Return whether a published checkpoint has been downloaded completely."""
    from dslocal.hub.download import cached_snapshot, missing_files, missing_weights

    folder = cached_snapshot(place.remote)
    if folder is None or not (folder / "config.json").is_file() or missing_weights(folder):
        return False
    manifest = place.remote.manifest()
    return not missing_files(place.remote, manifest, manifest.matching(place.patterns))


@contextmanager
def looked_at(
    found: resolve.LocalCheckpoint | PublishedLocation, progress: WorkProgress
) -> Iterator[Source]:
    """Yield the files for reading headers only: the small files of a published checkpoint are
    downloaded, and deleted afterwards.
    """
    from tempfile import TemporaryDirectory

    if isinstance(found, resolve.LocalCheckpoint):
        with opened(found, Path(), progress, stream=False) as files:
            yield files
        return
    with (
        TemporaryDirectory() as temporary,
        opened(found, Path(temporary) / "out", progress, stream=True) as files,
    ):
        yield files


def require_disk_space(plan: ConversionPlan, outs: Sequence[Path]) -> None:
    """Raise DownloadError if the disk is too small for a stream."""
    from dslocal.hub.fetch import require_disk_space as require
    from dslocal.hub.shard_stream import SUFFIX

    parts = [path for out in outs for path in out.parent.glob(f"{escape(out.stem)}*.part")]
    shards = outs[0].with_name(outs[0].name + SUFFIX).glob("*.safetensors*")
    written = sum(path.stat().st_blocks * 512 for path in (*parts, *shards))
    require(outs[0].parent, max(0, streamed_bytes(plan) - written), plan.checkpoint.source.name)


def streamed_bytes(plan: ConversionPlan) -> int:
    """Return the bytes of disk that a stream needs: the outputs, and two shards."""
    shards = sorted(
        (plan.checkpoint.source.size(shard) for shard in plan.checkpoint.shards), reverse=True
    )[:STREAMED_AT_ONCE]
    return sum(layout.data_size for layout in plan.layouts) + sum(shards)
