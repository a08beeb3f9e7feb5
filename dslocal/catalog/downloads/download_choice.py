"""Choose the best way to get a published model on this machine.

:mod:`dslocal.plan.choice` chooses the quantization. This module takes the offer that gets it in the
least time, if the disk has room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from dslocal.catalog.locations import PublishedLocation
from dslocal.errors import DownloadError, NotFoundError
from dslocal.files import decimal_size
from dslocal.plan.assessment import Assessment, PlannedModel

from .offers import DownloadMethod, Offer, check_offer, nothing_offered, offers_by_quant

Assess = Callable[[PlannedModel], Assessment]
Choose = Callable[[Iterable[Assessment]], Assessment]
MAX_HEADERS = 4  # files of a repository whose headers are read to find the best that runs


@dataclass(frozen=True)
class DownloadChoice:
    """The offer that was taken.

    Attributes:
        offer: What was taken.
        assessment: How it runs on this machine.
        why: The reason, in a few words.
        others: What would have given the same quantization.
    """

    offer: Offer
    assessment: Assessment
    why: str
    others: tuple[Offer, ...] = ()


def choose_download(
    location: PublishedLocation,
    quant: str | None,
    method: DownloadMethod | None,
    assess: Assess,
    choose: Choose,
    cores: int,
    free: int,
    *,
    check: bool = True,
) -> DownloadChoice:
    """Return the best offer of the quantization to take here.

    Args:
        location: Where the model is published.
        quant: The only quantization to consider, if given.
        method: The only method to consider, if given.
        assess: Says how a model runs on this machine.
        choose: Chooses among the quantizations, which come best first.
        cores: How many cores would convert.
        free: Bytes of disk that are free.
        check: Ask the hub whether a ready-made file is there. Without it, a model of models.yaml
            needs no network, and what models.yaml says is taken as it is.

    Raises:
        NotFoundError: Nothing is to be had.
        UsageError: ``quant`` is not.
        DownloadError: The disk has no room for any offer.
    """
    by_model: dict[int, Sequence[Offer]] = {}

    def assessed() -> Iterator[Assessment]:
        for offers in offers_by_quant(location, quant, method):
            found = assess(offers[0].model)
            by_model[id(found.model)] = offers
            yield found
            if len(by_model) >= MAX_HEADERS and location.entry is None:
                return

    found = assessed()
    first = next(found, None)
    if first is None:
        raise nothing_offered(location, quant, method)
    best = choose(chain([first], found))
    there = list(by_model[id(best.model)])
    if check:
        there = [offer for offer in map(check_offer, there) if offer is not None]
    return _choose_of_quant(there, method, assess, cores, free, location.name)


def _choose_of_quant(
    checked: Sequence[Offer],
    method: DownloadMethod | None,
    assess: Assess,
    cores: int,
    free: int,
    name: str,
) -> DownloadChoice:
    """Return the quickest of one quantization's offers for which the disk has room."""
    if not checked:
        raise NotFoundError(
            f"{name}: none of the ready-made files that models.yaml names exists any more",
            hint="leave out --gguf to convert the checkpoint",
        )
    fitting = [offer for offer in checked if offer.disk <= free]
    if not fitting:
        least = min(offer.disk for offer in checked)
        raise DownloadError(
            f"{name}: {decimal_size(least)} of disk are needed, and {decimal_size(free)} are free",
            hint="free some space, or use a smaller --quant",
        )
    best = min(fitting, key=lambda offer: offer.seconds(cores))
    others = tuple(offer for offer in checked if offer is not best)
    why = _why(best, others, free, cores) if others or method is None else "as you asked"
    return DownloadChoice(best, assess(best.model), why, others)


def _why(best: Offer, others: Sequence[Offer], free: int, cores: int) -> str:
    """Return in a few words why ``best`` and not one of the others."""
    if not others:
        if best.method == "converted":
            return "models.yaml names no checked ready-made file"
        return "it is the best of its files that runs here"
    other = min(others, key=lambda offer: offer.seconds(cores))
    if other.disk > free:
        return f"the disk has no space for the other way, which takes {decimal_size(other.disk)}"
    kept = "; converting (--convert) would keep the MTP layer" if other.mtp and not best.mtp else ""
    minutes, longer = best.seconds(cores) / 60, other.seconds(cores) / 60
    return f"it takes about {minutes:,.0f} min at 100 Mbit/s, the other {longer:,.0f}{kept}"
