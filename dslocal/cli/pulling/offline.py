"""Advice of ``dslocal pull`` without a network: the files, their addresses and sizes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dslocal.files import decimal_size

if TYPE_CHECKING:
    from dslocal.catalog.downloads.download_choice import DownloadChoice
    from dslocal.catalog.locations import PublishedLocation


def addresses(choice: DownloadChoice) -> list[str]:
    """Return where the files of a choice that was not checked are on the hub."""
    from dslocal.gguf.parts import parse_part_name
    from dslocal.hub.environment import endpoint

    offer = choice.offer
    repository = offer.remote.origin.removeprefix("hf:").partition("@")[0]
    page = f"{endpoint()}/{repository}"
    if not offer.listed:
        return [page]
    part = parse_part_name(offer.listed)
    files = part.all_parts() if part else [offer.listed]
    return [f"{page}/resolve/main/{file}" for file in files]


def plan_lines(location: PublishedLocation, choice: DownloadChoice) -> Iterator[str]:
    """Yield what would be fetched, by models.yaml alone, and how to bring it to this machine."""
    from .summary import how_it_runs

    offer = choice.offer
    found = addresses(choice)
    size = decimal_size(offer.model.download)
    if offer.method == "ready-made":
        yield f"{location.name} {offer.model.quant}: about {size} to download, in {_count(found)}"
    else:
        yield (
            f"{location.name} {offer.model.quant}: about {size} of safetensors and *.json files to "
            "download and convert"
        )
    yield how_it_runs(choice.assessment)
    yield from (f"  {address}" for address in found)
    yield bring_line(converts=offer.method == "converted", file=found[0].rpartition("/")[2])


def bring_line(*, converts: bool = False, file: str = "FILE.gguf") -> str:
    """Return how a model comes here from a machine that has a network."""
    if converts:
        return (
            "this machine has no network: download these files on another machine, bring the "
            "folder here, and run dslocal convert FOLDER -o FILE.gguf"
        )
    return (
        "this machine has no network: download the file on another machine, bring it here, and "
        f"run dslocal import {shlex.quote(file)}"
    )


def _count(files: list[str]) -> str:
    return "one file" if len(files) == 1 else f"{len(files)} files"
