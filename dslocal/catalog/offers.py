"""What can be had of a published model: ready-made GGUF files, or a conversion of its checkpoint,
and which of them is the better way.

For every quantization, best first, it is asked whether it runs here. Of the two ways to get the
first that does, the one that needs less time is taken, if the disk has room for it: fetching and
converting overlap, so that a conversion takes as long as the slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dslocal import catalog
from dslocal.errors import DownloadError, NotFoundError, UsageError
from dslocal.files import gigabytes
from dslocal.gguf.header import GgufHeader, main_type
from dslocal.hub.manifest import Manifest, RemoteFile
from dslocal.hub.remote_header import published_models, read_remote_header
from dslocal.hub.repository import HubRepository, Repository
from dslocal.plan.assessment import Assessment, PlannedModel
from dslocal.plan.memory.shape import is_legacy_mla

from .locations import PublishedLocation
from .quant_names import quant_in_file_name

Way = Literal["ready-made", "converted"]
Assess = Callable[[PlannedModel], Assessment]

ASSUMED_BANDWIDTH = (
    12.5e6  # bytes a second: 100 Mbit/s, for weighing a download against a conversion
)
RUNS_WELL = ("gpu", "offload", "cpu")
MAX_CONFIG = 4 << 20
MAX_HEADERS = 4  # of one repository's files that are read to find the best that runs

# weights a second of one core: ggml_quantize_chunk's lower measured rates
# (tests/benchmarks/convert_speed.py gives the sum of them)
RATES = {
    **{
        "F32": 400e6,
        "F16": 400e6,
        "BF16": 400e6,
        "Q8_0": 170e6,
        "Q6_K": 25e6,
        "Q5_K": 17e6,
        "Q4_K": 13e6,
        "Q3_K": 67e6,
        "Q2_K": 16e6,
    },
    **{"Q4_0": 60e6, "Q4_1": 60e6, "Q5_0": 40e6, "Q5_1": 40e6, "IQ4_XS": 4e6, "IQ4_NL": 4e6},
}
SLOWEST = 1e6


@dataclass(frozen=True)
class Offer:
    """One way to one quantization. ``files`` are the GGUF's own where it is ready-made; ``disk`` is
    the most that it ever takes.

    ``listed`` is the path of a ready-made file that models.yaml names, and nobody has looked at
    yet.
    """

    way: Way
    model: PlannedModel
    remote: Repository
    manifest: Manifest | None = None
    files: tuple[RemoteFile, ...] = ()
    mtp: bool = False
    disk: int = 0
    listed: str = ""

    def seconds(self, cores: int) -> float:
        """How long it takes, with :data:`ASSUMED_BANDWIDTH`."""
        fetching = self.model.download / ASSUMED_BANDWIDTH
        return (
            fetching
            if self.way == "ready-made"
            else max(fetching, conversion_seconds(self.model.header, cores))
        )


def conversion_seconds(header: GgufHeader, cores: int) -> float:
    """How long quantizing into this file takes."""
    return sum(
        tensor.elements / RATES.get(tensor.type.name, SLOWEST) for tensor in header.tensors
    ) / max(cores, 1)


@dataclass(frozen=True)
class DownloadChoice:
    """``offer`` was taken, for the reason ``why``; ``others`` would have given the same."""

    offer: Offer
    assessment: Assessment
    why: str
    others: tuple[Offer, ...] = ()


def choose_download(
    place: PublishedLocation,
    quant: str | None,
    way: Way | None,
    assess: Assess,
    cores: int,
    free: int,
) -> DownloadChoice:
    """The best way to the best quantization that runs here; to ``quant`` and by ``way`` where they
    are given.

    ``free`` are the bytes of disk. Raises NotFoundError where nothing is to be had, UsageError for
    a quantization that is not, DownloadError where no way has room.
    """
    tried: list[tuple[list[Offer], Assessment]] = []
    for offers in _by_quant(place, quant, way):
        found = assess(offers[0].model)
        tried.append((offers, found))
        if found.plan.verdict in RUNS_WELL or (len(tried) >= MAX_HEADERS and place.entry is None):
            break
    if not tried:
        raise _nothing(place, quant, way)
    offers, found = next(
        (one for one in tried if one[1].plan.verdict in RUNS_WELL),
        min(tried, key=lambda one: one[1].plan.lacking),
    )
    return _better(offers, assess, cores, free, place.name)


def _better(
    offers: Sequence[Offer], assess: Assess, cores: int, free: int, name: str
) -> DownloadChoice:
    checked = [looked_at for offer in offers if (looked_at := _looked_at(offer)) is not None]
    if not checked:
        raise NotFoundError(
            f"{name}: no ready-made file that models.yaml names is there any more",
            hint="without --gguf it is converted",
        )
    fitting = [offer for offer in checked if offer.disk <= free]
    if not fitting:
        least = min(offer.disk for offer in checked)
        raise DownloadError(
            f"{name}: {gigabytes(least)} of disk are needed, {gigabytes(free)} are free",
            hint="make room, or a smaller --quant",
        )
    best = min(fitting, key=lambda offer: offer.seconds(cores))
    others = tuple(offer for offer in checked if offer is not best)
    return DownloadChoice(best, assess(best.model), _why(best, others, free, cores), others)


def _why(best: Offer, others: Sequence[Offer], free: int, cores: int) -> str:
    """In a few words, why not one of the others."""
    if not others:
        return (
            "there is no ready-made file that is known to be good"
            if best.way == "converted"
            else "the best of its files that runs here"
        )
    other = min(others, key=lambda offer: offer.seconds(cores))
    if other.disk > free:
        return f"the disk has no room for the other way, which takes {gigabytes(other.disk)}"
    kept = "; converting (--convert) would keep the MTP layer" if other.mtp and not best.mtp else ""
    minutes, longer = best.seconds(cores) / 60, other.seconds(cores) / 60
    return f"about {minutes:,.0f} min at 100 Mbit/s, the other way {longer:,.0f}{kept}"


def _looked_at(offer: Offer) -> Offer | None:
    """``offer`` with what is really there; None for a ready-made file that is not what it should
    be.
    """
    if not offer.listed:
        return offer
    try:
        manifest = offer.remote.manifest()
        header, files = read_remote_header(offer.remote, manifest, manifest.file(offer.listed))
    except NotFoundError:
        return None
    return (
        None
        if is_legacy_mla(header)
        else _ready(offer.remote, manifest, files, header, offer.model.quant, offer.mtp)
    )


def _by_quant(
    place: PublishedLocation, quant: str | None, way: Way | None
) -> Iterator[list[Offer]]:
    """The offers, those of one quantization together; the best quantization first."""
    if place.entry is not None and not place.file:
        for name in [quant] if quant else place.entry.quants:
            offers = [
                offer for offer in _of_entry(place, place.entry, name) if way in (None, offer.way)
            ]
            if offers:
                yield offers
        return
    manifest = place.remote.manifest()
    ggufs = (
        published_models(manifest.files.values()) if not place.file else [manifest.file(place.file)]
    )
    if ggufs and way != "converted":
        yield from ([offer] for offer in _of_files(place.remote, manifest, ggufs, quant))
    elif not place.file and way != "ready-made":
        yield from ([offer] for offer in _of_checkpoint(place, manifest, quant))


def _of_entry(place: PublishedLocation, entry: catalog.ModelEntry, quant: str) -> Iterator[Offer]:
    """Conversion first: its header is known without asking anybody. A ready-made file's is read
    when it comes to that.
    """
    import dslocal.convert as converter

    header = converter.header_from_config(entry.config, converter.recipe_named(quant))
    mtp = bool(header.of_arch("nextn_predict_layers"))
    download = converter.checkpoint_bytes(entry.config, entry.dtype)
    if entry.weights == "safetensors":
        model = PlannedModel(entry.name, quant, header, download, header.file_size)
        yield Offer(
            "converted", model, place.remote, mtp=mtp, disk=header.file_size + 2 * _shard(download)
        )
    for ready in entry.gguf:
        if quant in ready.files:
            model = PlannedModel(entry.name, quant, header, header.file_size)
            yield Offer(
                "ready-made",
                model,
                HubRepository(ready.repository),
                mtp=ready.mtp,
                listed=ready.files[quant],
            )


def _of_files(
    remote: Repository, manifest: Manifest, ggufs: Sequence[RemoteFile], quant: str | None
) -> Iterator[Offer]:
    """Ready-made files of one repository, the largest first."""
    named = [(quant_in_file_name(file.name), file) for file in ggufs]
    if quant:
        named = [(name, file) for name, file in named if name.upper() == quant.upper()]
        if not named:
            have = ", ".join(sorted({quant_in_file_name(file.name) for file in ggufs}))
            raise UsageError(f"--quant {quant}: {manifest.origin} has none", hint=f"it has {have}")
    elif any(name in catalog.DEFAULT_QUANTS for name, _ in named):
        named = [(name, file) for name, file in named if name in catalog.DEFAULT_QUANTS]
    for name, file in sorted(named, key=lambda one: -one[1].size):
        header, files = read_remote_header(remote, manifest, file)
        yield _ready(
            remote, manifest, files, header, name, bool(header.of_arch("nextn_predict_layers"))
        )


def _of_checkpoint(
    place: PublishedLocation, manifest: Manifest, quant: str | None
) -> Iterator[Offer]:
    import dslocal.convert as converter

    sizes = [
        file.size
        for file in manifest.matching(place.patterns)
        if file.name.endswith(".safetensors")
    ]
    if not sizes or "config.json" not in manifest.files:
        raise NotFoundError(
            f"{place.remote.origin}: has neither GGUF files nor a config.json with safetensors"
        )
    config = _config(place.remote, manifest)
    for name in [quant] if quant else catalog.DEFAULT_QUANTS:
        header = converter.header_from_config(config, converter.recipe_named(name))
        model = PlannedModel(place.name, name, header, sum(sizes), header.file_size)
        disk = header.file_size + sum(sorted(sizes)[-2:])
        yield Offer(
            "converted",
            model,
            place.remote,
            manifest,
            mtp=bool(header.of_arch("nextn_predict_layers")),
            disk=disk,
        )


def _config(remote: Repository, manifest: Manifest) -> dict[str, object]:
    """The config.json of a published checkpoint, read over the network. Raises NotFoundError,
    DownloadError.
    """
    import json

    from dslocal.hub import http

    file = manifest.file("config.json")
    if file.size > MAX_CONFIG:
        raise DownloadError(f"{manifest.origin}: config.json: {file.size:,} bytes cannot be right")
    what = f"{manifest.origin}: config.json"
    data = http.with_retries(lambda: b"".join(remote.part(manifest, file, 0, file.size)), what)
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        raise DownloadError(f"{what}: is no JSON") from None
    if not isinstance(config, dict):
        raise DownloadError(f"{what}: is not a JSON object")
    return config


def _ready(
    remote: Repository,
    manifest: Manifest,
    files: Sequence[RemoteFile],
    header: GgufHeader,
    quant: str,
    mtp: bool,
) -> Offer:
    nbytes = sum(file.size for file in files)
    name = header.text("general.name") or files[0].name.rsplit("/", 1)[-1].removesuffix(".gguf")
    return Offer(
        "ready-made",
        PlannedModel(name, quant or main_type(header), header, nbytes),
        remote,
        manifest,
        tuple(files),
        mtp,
        nbytes,
    )


def _shard(checkpoint: int) -> int:
    """Bytes of the largest shard that a checkpoint of so many is published in: 8.7 GB for the
    small, 4.3 GB for V3.
    """
    return min(checkpoint, 9 * 10**9)


def _nothing(place: PublishedLocation, quant: str | None, way: Way | None) -> Exception:
    wanted = quant or "file"
    if place.entry is not None and place.entry.weights == "pytorch" and way != "ready-made":
        pickled = f"{place.entry.repository} has only pickled weights, which are never opened, and no ready-made {wanted} is known"
        return NotFoundError(
            pickled, hint="a --revision with safetensors, or a GGUF repository by its own name"
        )
    known = ", ".join(
        sorted(
            {name for ready in (place.entry.gguf if place.entry else ()) for name in ready.files}
        )
    )
    hint = f"ready-made: {known or 'none'}; or convert it"
    return NotFoundError(f"{place.name}: no ready-made {wanted} is known to be good", hint=hint)
