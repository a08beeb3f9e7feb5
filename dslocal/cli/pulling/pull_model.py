"""Download a published model in the chosen way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dslocal import catalog, home
from dslocal.catalog import InstalledModel
from dslocal.catalog.downloads.download_choice import DownloadChoice
from dslocal.catalog.downloads.offers import DownloadMethod
from dslocal.catalog.inventory import Provenance, locked_inventory
from dslocal.catalog.locations import PublishedLocation
from dslocal.errors import NotFoundError

if TYPE_CHECKING:
    from dslocal.terminal.progress import ProgressDisplay

# What is here already, by the method that was asked for, that does as well.
EQUIVALENT: dict[DownloadMethod | None, tuple[Provenance, ...]] = {
    None: ("converted", "downloaded", "imported"),
    "ready-made": ("downloaded", "imported"),
    "converted": ("converted",),
}


def find_equivalent(name: str, method: DownloadMethod | None) -> InstalledModel | None:
    """Return a model that is here and does as well as one that would be pulled.

    Args:
        name: ``NAME`` or ``NAME:QUANT``.
        method: The method that was asked for; None for any.
    """
    found = catalog.find_installed(name)
    if found is None or found.missing or found.quant == catalog.CHECKPOINT:
        return None
    return found if found.how in EQUIVALENT[method] else None


def pull_model(
    location: PublishedLocation, choice: DownloadChoice, shown: ProgressDisplay
) -> InstalledModel:
    """Download a model, or convert it, and make it known.

    Processes that want the same model wait for each other.

    Args:
        location: The model on the hub.
        choice: The file to download, or the checkpoint to convert.
        shown: Shows the progress.

    Raises:
        DslocalError: It cannot be had.
    """
    from filelock import FileLock, Timeout

    quant = choice.offer.model.quant
    folder = home.cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"pull-{location.name}-{quant}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        shown.log(f"dslocal: another process is pulling {location.name} {quant}; waiting for it")
        lock.acquire()
    try:
        installed = find_equivalent(f"{location.name}:{quant}", choice.offer.method)
        if installed is None:
            with locked_inventory():
                pass  # where it cannot be written, that is found before the download
            bring = _download if choice.offer.method == "ready-made" else _convert
            installed = bring(location, choice, shown)
            catalog.add_installed(installed)
        return installed
    finally:
        lock.release()


def _download(
    location: PublishedLocation, choice: DownloadChoice, shown: ProgressDisplay
) -> InstalledModel:
    """Download ready-made files."""
    from dslocal.gguf.parts import read_parts
    from dslocal.hub.download import download

    offer = choice.offer
    manifest = offer.manifest
    if manifest is None:
        raise NotFoundError(f"{location.name}: the list of its files could not be read")
    folder = download(
        offer.remote,
        manifest,
        offer.files,
        on_progress=shown.on_fetch,
        notify=lambda line: shown.log(f"dslocal: {line}"),
    )
    files = read_parts(folder / offer.files[0].name)[0]
    return InstalledModel(
        name=location.name,
        quant=offer.model.quant,
        path=files[0],
        files=files,
        nbytes=sum(file.size for file in offer.files),
        how="downloaded",
        origin=f"{manifest.origin}@{manifest.commit}" if manifest.git else manifest.origin,
        added=time.time(),
    )


def _convert(
    location: PublishedLocation, choice: DownloadChoice, shown: ProgressDisplay
) -> InstalledModel:
    """Convert a checkpoint shard by shard, or at once if the whole of it is here."""
    import dslocal.convert as converter
    from dslocal.api import checkpoint_source, conversion

    quant = choice.offer.model.quant
    folder = home.cache_dir() / "converted"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{location.name}-{quant}.gguf"
    request = conversion.ConversionRequest(
        [converter.recipe_named(quant)], mtp="keep", split=converter.Split(), imatrix=None
    )
    stream = not checkpoint_source.is_whole_here(location)
    with checkpoint_source.opened(location, target, shown, stream=stream) as files:
        plan = conversion.plan_conversion(files, request, shown)
        checkpoint_source.require_disk_space(plan, [target])
        report = converter.write_gguf(plan, [target], on_progress=shown.on_conversion)[0]
        revision = files.revision
    origin = location.remote.origin
    if revision:
        origin = f"{origin.partition('@')[0]}@{revision}"
    return InstalledModel(
        name=location.name,
        quant=quant,
        path=report.path,
        files=(report.path,),
        nbytes=report.nbytes,
        how="converted",
        origin=origin,
        added=time.time(),
    )
