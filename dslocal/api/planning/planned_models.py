"""Find the model that a user names for a plan: its header, file and download."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal.catalog import ModelEntry
    from dslocal.plan.assessment import Assessment, PlannedModel


def other_quants(name: str, model: PlannedModel, cores: int) -> list[tuple[str, PlannedModel]]:
    """Return the other quantizations by name, for a model that is not a file on this machine."""
    if not model.method:
        return []
    return [
        (other.quant, other) for other in quantizations(name, cores) if other.quant != model.quant
    ]


def registered_entry(name: str) -> ModelEntry | None:
    """Return the entry of models.yaml that ``name`` means, or None."""
    found = registered_model(name)
    return found.entry if found else None


def quantizations(name: str, cores: int) -> Iterator[PlannedModel]:
    """Yield the quantizations of a model that can be converted or pulled, best first."""
    from dslocal import catalog

    found = registered_model(name)
    quants = found.entry.quants if found else catalog.DEFAULT_QUANTS
    base = found.entry.name if found else name
    all_of_them = [planned_model(base, quant, cores) for quant in quants]
    return iter([each for each in all_of_them if each.method] or all_of_them)


def planned_model(name: str, quant: str | None, cores: int) -> PlannedModel:
    """Return what a name of models.yaml, a GGUF file or a checkpoint folder stands for.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: ``quant`` is given for a GGUF file.
    """
    import dslocal.convert as converter
    from dslocal.catalog import resolve
    from dslocal.plan.assessment import PlannedModel

    registered = registered_model(name)
    if registered is not None:
        entry = registered.entry
        if quant and registered.quant and quant.upper() != registered.quant.upper():
            raise UsageError(
                f"--quant {quant} contradicts {name:.200}, which names {registered.quant}",
                hint="use one of them",
            )
        return model_of_entry(entry, quant or registered.quant or entry.quant, cores)
    found = resolve.resolve_model(name)
    if isinstance(found, Path):
        if quant:
            raise UsageError(
                f"--quant: {found.name} is a GGUF file, whose quantization is fixed",
                hint="give a checkpoint or a name, or use dslocal quantize",
            )
        return _model_of_file(found)
    checkpoint = converter.open_checkpoint(converter.FolderSource(found.folder))
    recipe = converter.recipe_named(quant or found.quant)
    header = converter.header_from_config(
        checkpoint.config.values, recipe, mtp=converter.has_mtp_layer(checkpoint)
    )
    name = found.name
    return PlannedModel(
        name, quant or found.quant, header, disk=header.file_size, method="converted"
    )


def installed_model(name: str, quant: str | None) -> PlannedModel | None:
    """Return the GGUF file that ``name`` means, if it has been pulled or imported."""
    from dslocal import catalog
    from dslocal.catalog import resolve

    wanted = f"{name}:{quant}" if quant else name
    found = catalog.find_installed(wanted)
    if found is None and not Path(name).exists():
        found = resolve.find_spelled(wanted)
    if found is None or found.quant == catalog.CHECKPOINT or found.missing:
        return None
    return _model_of_file(found.path)


def model_on_hub(
    name: str,
    quant: str | None,
    assess: Callable[[PlannedModel], Assessment],
    choose: Callable[[Iterable[Assessment]], Assessment],
    cores: int,
) -> PlannedModel | None:
    """Return the model that ``name`` means on the hub or at a URL, from headers only.

    Returns None for a model of models.yaml or on this machine.
    """
    from dslocal.catalog.downloads.download_choice import choose_download
    from dslocal.catalog.locations import find_published

    place = find_published(name)
    if place is None or (place.entry is not None and not place.file):
        return None
    wanted = quant or place.quant or None
    choice = choose_download(place, wanted, None, assess, choose, cores, sys.maxsize)
    return choice.offer.model


class RegisteredModel(NamedTuple):
    """A model of models.yaml, and the quantization in its name, if any."""

    entry: ModelEntry
    quant: str


def registered_model(name: str) -> RegisteredModel | None:
    """Return the model of models.yaml that ``name`` means, by its own name or its repository's."""
    from dslocal import catalog
    from dslocal.catalog.locations import find_published

    place = find_published(name)
    if place is not None:
        return RegisteredModel(place.entry, place.quant) if place.entry else None
    entry = catalog.load_registry().get(name.lower())
    return RegisteredModel(entry, "") if entry else None


def _model_of_file(path: Path) -> PlannedModel:
    from dslocal.api.model_file import require_shape
    from dslocal.gguf.header import main_type
    from dslocal.gguf.parts import read_parts
    from dslocal.plan.assessment import PlannedModel

    header = read_parts(path)[1]
    require_shape(path.name, header)
    title = header.text("general.name") or path.stem
    return PlannedModel(title, main_type(header), header, file=path)


def model_of_entry(entry: ModelEntry, quant: str, cores: int) -> PlannedModel:
    """Return a model of models.yaml as ``dslocal pull`` would get it."""
    import dslocal.convert as converter
    from dslocal.catalog.downloads import offers
    from dslocal.plan.assessment import PlannedModel

    if entry.local:
        return _outlined(entry.name, entry.config, quant)
    offer = offers.expected_offer(entry, quant, cores)
    if offer is not None:
        return offer.model
    quant = offers.quant_as_listed(entry, quant)
    header = offers.expected_header(entry, quant)
    download = converter.checkpoint_bytes(entry.config, entry.dtype)
    return PlannedModel(
        entry.name,
        quant,
        header,
        download,
        download,
        obstacle="pickled" if entry.weights == "pytorch" else "imatrix",
    )


def _outlined(name: str, config: Mapping[str, Any], quant: str) -> PlannedModel:
    """Return the model that a checkpoint on this machine converts to."""
    import dslocal.convert as converter
    from dslocal.plan.assessment import PlannedModel

    header = converter.header_from_config(config, converter.recipe_named(quant))
    return PlannedModel(name, quant, header, disk=header.file_size, method="converted")
