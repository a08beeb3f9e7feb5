"""List the ways to get a published model, and how long each takes.

A quantization is offered as ready-made GGUF files, as a conversion of the checkpoint, or both.
Fetching and converting overlap, so that a conversion takes as long as the slower of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dslocal import catalog
from dslocal.catalog.locations import PublishedLocation, published_location
from dslocal.catalog.model_entry import MAX_CONFIG
from dslocal.catalog.quant_names import is_quant_of_file, quant_in_file_name
from dslocal.errors import DownloadError, DslocalError, NotFoundError, UsageError
from dslocal.files import parse_json_object
from dslocal.gguf.header import GgufHeader, main_type
from dslocal.hub.manifest import Manifest, RemoteFile
from dslocal.hub.remote_header import published_models, read_remote_header
from dslocal.hub.repository import HubRepository, Repository
from dslocal.plan.assessment import PlannedModel
from dslocal.plan.memory.shape import is_legacy_mla

DownloadMethod = Literal["ready-made", "converted"]

# Bytes a second, 100 Mbit/s: for weighing a download against a conversion.
ASSUMED_BANDWIDTH = 12.5e6
MAX_LISTED = 12  # names in a message

# Weights a second that one core quantizes: ggml_quantize_chunk's lower measured rates
# (tests/benchmarks/convert_speed.py gives the sum of them).
RATES = {
    "F32": 400e6,
    "F16": 400e6,
    "BF16": 400e6,
    "Q8_0": 170e6,
    "Q6_K": 25e6,
    "Q5_K": 17e6,
    "Q4_K": 13e6,
    "Q3_K": 67e6,
    "Q2_K": 16e6,
    "Q4_0": 60e6,
    "Q4_1": 60e6,
    "Q5_0": 40e6,
    "Q5_1": 40e6,
    "IQ4_XS": 4e6,
    "IQ4_NL": 4e6,
}
SLOWEST_RATE = 1e6  # of every other type


@dataclass(frozen=True)
class Offer:
    """One method to get one quantization.

    Attributes:
        model: What it becomes, for planning, and what it takes to get it.
        remote: Where it is published.
        manifest: What that holds; None until somebody has asked.
        files: The GGUF's own files where it is ready-made.
        mtp: Whether it has the layer for multi-token prediction.
        listed: The path of a ready-made file that models.yaml names and that is not checked yet.
    """

    model: PlannedModel
    remote: Repository
    manifest: Manifest | None = None
    files: tuple[RemoteFile, ...] = ()
    mtp: bool = False
    listed: str = ""

    @property
    def method(self) -> DownloadMethod:
        """Return whether GGUF files are fetched, or the checkpoint, which is then converted."""
        return "converted" if self.model.method == "converted" else "ready-made"

    @property
    def disk(self) -> int:
        """Return the most bytes of disk that it ever takes."""
        return self.model.disk

    def seconds(self, cores: int) -> float:
        """Return how long it takes, with :data:`ASSUMED_BANDWIDTH`."""
        fetching = self.model.download / ASSUMED_BANDWIDTH
        if self.method == "ready-made":
            return fetching
        return max(fetching, conversion_seconds(self.model.header, cores))


def conversion_seconds(header: GgufHeader, cores: int) -> float:
    """Return how long quantizing into a file with this header takes."""
    seconds = 0.0
    for tensor in header.tensors:
        seconds += tensor.elements / RATES.get(tensor.type.name, SLOWEST_RATE)
    return seconds / max(cores, 1)


def expected_offer(entry: catalog.ModelEntry, quant: str, cores: int) -> Offer | None:
    """Return the offer that would be taken of what models.yaml knows, without asking the network.

    Args:
        entry: A model that is published.
        quant: The quantization.
        cores: How many cores would convert.

    Returns:
        None where there is none: pickled weights, and no ready-made file.
    """
    offers = list(_offers_of_entry(published_location(entry), entry, quant))
    return min(offers, key=lambda offer: offer.seconds(cores), default=None)


def check_offer(offer: Offer) -> Offer | None:
    """Return ``offer`` with what is really there; None for a file that is not what it should be.

    Raises:
        DownloadError: The hub cannot be asked.
    """
    if not offer.listed:
        return offer
    try:
        manifest = offer.remote.manifest()
        header, files = read_remote_header(offer.remote, manifest, manifest.file(offer.listed))
    except NotFoundError:
        return None
    if is_legacy_mla(header):
        return None
    return _ready_made(offer.remote, manifest, files, header, offer.model.quant, mtp=offer.mtp)


def offers_by_quant(
    location: PublishedLocation, quant: str | None, method: DownloadMethod | None
) -> Iterator[list[Offer]]:
    """Yield the offers of one quantization together, the best quantization first.

    Args:
        location: Where the model is published.
        quant: The only quantization to consider, if given.
        method: The only method to consider, if given.

    Raises:
        NotFoundError: The repository has no model.
        UsageError: The quantization is not there, or needs an importance matrix.
        DownloadError: The hub cannot be asked.
    """
    if location.entry is not None and not location.file:
        for name in [quant] if quant else location.entry.quants:
            offers = [
                offer
                for offer in _offers_of_entry(location, location.entry, name)
                if method in (None, offer.method)
            ]
            if offers:
                yield offers
        return
    manifest = location.remote.manifest()
    if location.file:
        ggufs = [manifest.file(location.file)]
    else:
        ggufs = published_models(manifest.files.values())
    if ggufs and method != "converted":
        for offer in _offers_of_files(location.remote, manifest, ggufs, quant):
            yield [offer]
    elif not location.file and method != "ready-made":
        for offer in _offers_of_checkpoint(location, manifest, quant):
            yield [offer]


def _offers_of_entry(
    location: PublishedLocation, entry: catalog.ModelEntry, quant: str
) -> Iterator[Offer]:
    """Yield what models.yaml knows of one quantization.

    The conversion comes first: its header is known without a request. That of a ready-made file is
    read once it may be taken.
    """
    import dslocal.convert as converter

    quant = quant_as_listed(entry, quant)
    header = expected_header(entry, quant)
    download = converter.checkpoint_bytes(entry.config, entry.dtype)
    if entry.weights == "safetensors" and _is_convertible(header, quant):
        disk = header.file_size + 2 * _largest_shard(download)
        yield Offer(
            PlannedModel(entry.name, quant, header, download, disk, method="converted"),
            location.remote,
            mtp=_has_mtp(header),
        )
    for ready in entry.gguf:
        if quant in ready.files:
            size = ready.nbytes.get(quant, header.file_size)
            yield Offer(
                PlannedModel(entry.name, quant, header, size, size, method="ready-made"),
                HubRepository(ready.repository),
                mtp=ready.mtp,
                listed=ready.files[quant],
            )


def quant_as_listed(entry: catalog.ModelEntry, quant: str) -> str:
    """Return a quantization as models.yaml or the recipes spell it: ``q4_k`` is Q4_K_M.

    Raises:
        UsageError: No such quantization is known.
    """
    import dslocal.convert as converter

    for name in {name for ready in entry.gguf for name in ready.files}:
        if name.upper() == quant.upper():
            return name
    return converter.recipe_named(quant).name


def expected_header(entry: catalog.ModelEntry, quant: str) -> GgufHeader:
    """Return the header that a quantization of a model of models.yaml has, without a request.

    That of a file which somebody else made by a recipe of their own is one of the same size.

    Raises:
        UsageError: No such quantization is known.
    """
    import dslocal.convert as converter

    sizes = [ready.nbytes[quant] for ready in entry.gguf if quant in ready.nbytes]
    if sizes and quant not in converter.RECIPES:
        recipe: converter.Recipe = converter.SizedRecipe(quant, sizes[0], assumes_imatrix=True)
    else:
        recipe = converter.recipe_named(quant)
    return converter.header_from_config(entry.config, recipe)


def _is_convertible(header: GgufHeader, quant: str) -> bool:
    """Return whether a checkpoint can become a file with this header: without importance."""
    import dslocal.convert as converter

    is_recipe = quant in converter.RECIPES
    return is_recipe and not converter.requires_imatrix(header, quant)


def _offers_of_files(
    remote: Repository, manifest: Manifest, ggufs: Sequence[RemoteFile], quant: str | None
) -> Iterator[Offer]:
    """Yield the ready-made files of one repository, the largest first."""
    named = [(quant_in_file_name(file.name), file) for file in ggufs]
    if quant:
        exact = [(name, file) for name, file in named if name.upper() == quant.upper()]
        as_label = [(quant, file) for file in ggufs if is_quant_of_file(quant, file.name)]
        named = exact if exact else as_label
        if not named:
            have = sorted({quant_in_file_name(file.name) for file in ggufs} - {""})
            listed = ", ".join(have) or ", ".join(file.name for file in ggufs[:MAX_LISTED])
            raise UsageError(
                f"--quant {quant}: {manifest.origin} has none", hint=f"it has {listed}"
            )
    elif any(name in catalog.DEFAULT_QUANTS for name, _ in named):
        named = [(name, file) for name, file in named if name in catalog.DEFAULT_QUANTS]
    for name, file in sorted(named, key=lambda one: -one[1].size):
        header, files = read_remote_header(remote, manifest, file)
        yield _ready_made(remote, manifest, files, header, name, mtp=_has_mtp(header))


def _offers_of_checkpoint(
    location: PublishedLocation, manifest: Manifest, quant: str | None
) -> Iterator[Offer]:
    """Yield conversions of a checkpoint that models.yaml does not know."""
    import dslocal.convert as converter

    files = manifest.matching(location.patterns)
    sizes = sorted(file.size for file in files if file.name.endswith(".safetensors"))
    if not sizes or "config.json" not in manifest.files:
        reason = converter.other_form_error(manifest.files)
        if reason is not None:
            raise NotFoundError(f"{location.remote.origin}: {reason}", hint=reason.hint)
        listed = ", ".join(sorted(manifest.files)[:MAX_LISTED])
        raise NotFoundError(
            f"{location.remote.origin}: has neither GGUF files nor a config.json with safetensors",
            hint=f"it has {listed}" if listed else "it is empty",
        )
    config = _read_config(location.remote, manifest)
    converter.require_convertible(config, manifest.files.keys(), manifest.name)
    for name in [quant] if quant else catalog.DEFAULT_QUANTS:
        recipe = converter.recipe_named(name)
        header = converter.header_from_config(config, recipe)
        if converter.requires_imatrix(header, recipe.name):
            raise _imatrix_needed(location.name, recipe.name)
        disk = header.file_size + sum(sizes[-2:])
        yield Offer(
            PlannedModel(location.name, name, header, sum(sizes), disk, method="converted"),
            location.remote,
            manifest,
            mtp=_has_mtp(header),
        )


def _read_config(remote: Repository, manifest: Manifest) -> dict[str, object]:
    """Read the config.json of a published checkpoint over the network."""
    from dslocal.hub import http

    file = manifest.file("config.json")
    if file.size > MAX_CONFIG:
        raise DownloadError(f"{manifest.origin}: config.json: {file.size:,} bytes cannot be right")
    what = f"{manifest.origin}: config.json"
    data = http.with_retries(
        lambda: b"".join(remote.read_range(manifest, file, 0, file.size)), what
    )
    try:
        return parse_json_object(data)
    except ValueError:
        raise DownloadError(f"{what}: is not a JSON object") from None


def _ready_made(
    remote: Repository,
    manifest: Manifest,
    files: Sequence[RemoteFile],
    header: GgufHeader,
    quant: str,
    *,
    mtp: bool,
) -> Offer:
    nbytes = sum(file.size for file in files)
    name = header.text("general.name") or files[0].name.rsplit("/", 1)[-1].removesuffix(".gguf")
    quant = quant or main_type(header)
    model = PlannedModel(name, quant, header, nbytes, nbytes, method="ready-made")
    return Offer(model, remote, manifest, tuple(files), mtp)


def _has_mtp(header: GgufHeader) -> bool:
    return bool(header.mtp_layers)


def _largest_shard(checkpoint: int) -> int:
    """Return the bytes of the largest shard in which a checkpoint of so many bytes is published.

    It is 8.7 GB for the small models, 4.3 GB for V3.
    """
    return min(checkpoint, 9 * 10**9)


def nothing_offered(
    location: PublishedLocation, quant: str | None, method: DownloadMethod | None
) -> DslocalError:
    """Return the error that says why a model, a quantization or a method is not offered."""
    wanted = quant or "file"
    entry = location.entry
    if entry is not None and entry.weights == "safetensors" and quant and method != "ready-made":
        return _imatrix_needed(location.name, quant_as_listed(entry, quant))
    if entry is not None and entry.weights == "pytorch" and method != "ready-made":
        why = f"{entry.repository} has only pickled weights, which are never opened"
        return NotFoundError(
            f"{why}, and no ready-made {wanted} is known",
            hint="use a --revision with safetensors, or name a GGUF repository",
        )
    known: set[str] = set()
    if entry is not None:
        known.update(*(ready.files for ready in entry.gguf))
    return NotFoundError(
        f"{location.name}: models.yaml names no checked ready-made {wanted}",
        hint=f"ready-made: {', '.join(sorted(known)) or 'none'}; or convert the checkpoint",
    )


def _imatrix_needed(name: str, quant: str) -> UsageError:
    return UsageError(
        f"{name}: {quant} needs an importance matrix, which dslocal pull does not make",
        hint=f"dslocal convert {name} --quant {quant} --imatrix auto -o OUT.gguf",
    )
