"""``dslocal pull``: a published model onto this machine, ready-made or converted, whichever is the
better way.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.options import AsJson
from dslocal.errors import DoesNotFitError, ExitCode, NotFoundError, UsageError
from dslocal.files import decimal_size
from dslocal.terminal import progress

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.catalog.offers import DownloadChoice, DownloadMethod
    from dslocal.plan.assessment import Assessment, PlannedModel
    from dslocal.terminal.progress import ProgressDisplay

ASK_ABOVE = 20 * 10**9  # bytes to fetch
HOW: dict[
    str | None, tuple[str, ...]
] = {  # of what is here, what will do for the way that was asked for
    **{
        None: ("converted", "downloaded", "imported"),
        "ready-made": ("downloaded", "imported"),
        "converted": ("converted",),
    }
}


def pull(
    model: Annotated[
        str,
        typer.Argument(
            help="A name that dslocal fit lists, OWNER/NAME or hf:OWNER/NAME/FILE on the hub, or a URL.",
            autocompletion=completion_values.published,
        ),
    ],
    quant: Annotated[
        str | None,
        typer.Option(
            "--quant",
            help="As Q4_K_M. [the best that runs here]",
            show_default=False,
            autocompletion=completion_values.quants,
        ),
    ] = None,
    gguf: Annotated[bool, typer.Option("--gguf", help="Only a ready-made file.")] = False,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert", help="Only by converting the checkpoint, which keeps an MTP layer."
        ),
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            help="Branch, tag or commit on the hub. [the model's, else main]",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however large it is.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download a model, or download and convert it. Interrupted, the same command goes on where it
    was.
    """
    from dslocal import catalog
    from dslocal.catalog.locations import find_published

    if gguf and convert:
        raise UsageError("--gguf and --convert exclude each other")
    place = find_published(model, revision=revision)
    way: DownloadMethod | None = "ready-made" if gguf else "converted" if convert else None
    if place is None:
        if revision is not None:
            raise UsageError(f"--revision: {model!r:.100} is not a model on the hub")
        _already_here(model, as_json=as_json)
        return
    kept = catalog.find_installed(f"{place.name}:{quant}" if quant else place.name)
    if (
        kept
        and kept.quant != catalog.CHECKPOINT
        and not kept.missing
        and not dry_run
        and kept.how in HOW[way]
    ):
        _print_kept(kept, "is here already", as_json=as_json)
        return
    choice = _choose(place, quant, way)
    _print_choice(place, choice, dry_run=dry_run, as_json=as_json)
    if dry_run:
        return
    _refuse_unless_it_runs(place, choice, asked=quant is not None)
    if choice.offer.model.download > ASK_ABOVE and not yes:
        _ask(choice)
    try:
        with progress.show_progress(place.name, as_json=as_json) as shown:
            kept = _bring(place, choice, shown)
    except KeyboardInterrupt:
        print("dslocal: stopped; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _print_kept(kept, "is here", as_json=as_json)


def _already_here(model: str, *, as_json: bool) -> None:
    """For a name that is on this machine. Raises NotFoundError for one that is nothing at all."""
    from dslocal import catalog
    from dslocal.catalog import resolve

    if kept := catalog.find_installed(model):
        _print_kept(kept, "is here already", as_json=as_json)
        return
    found = resolve.resolve_model(model)
    path = found if isinstance(found, Path) else found.folder
    print(json.dumps({"path": str(path)}) if as_json else f"{model} is here already: {path}")


def _choose(
    place: PublishedLocation, quant: str | None, way: DownloadMethod | None
) -> DownloadChoice:
    from dslocal import home
    from dslocal.api import machines
    from dslocal.catalog import offers
    from dslocal.plan.assessment import assess

    machine, rates = machines.machine_and_rates()
    name = quant.strip() if quant else None

    def on_this(model: PlannedModel) -> Assessment:
        return assess(model, machine, rates)

    folder = home.cache_dir()
    while not folder.exists():
        folder = folder.parent
    return offers.choose_download(
        place, name, way, on_this, machine.cores, shutil.disk_usage(folder).free
    )


def _refuse_unless_it_runs(
    place: PublishedLocation, choice: DownloadChoice, *, asked: bool
) -> None:
    """Raises DoesNotFitError for what cannot run here, unless just this quantization was ``asked``
    for.
    """
    plan, quant = choice.assessment.plan, choice.offer.model.quant
    if plan.verdict != "no":
        return
    lacking = (
        f"{place.name} {quant} cannot run here: {decimal_size(plan.lacking)} of memory are missing"
    )
    if not asked:
        raise DoesNotFitError(
            lacking,
            hint=f"--quant {quant} fetches it all the same; dslocal fit says what would run",
        )
    print(f"dslocal: {lacking}", file=sys.stderr)


def _ask(choice: DownloadChoice) -> None:
    """Raises UsageError where nobody can be asked, and Exit on a no."""
    nbytes = choice.offer.model.download
    if not _somebody_is_there():
        raise UsageError(
            f"{decimal_size(nbytes)} are to be fetched, and there is nobody to ask", hint="--yes"
        )
    if not typer.confirm(f"Fetch {decimal_size(nbytes)}?", err=True):
        print("dslocal: nothing was fetched", file=sys.stderr)
        raise typer.Exit(1)


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _bring(
    place: PublishedLocation, choice: DownloadChoice, shown: ProgressDisplay
) -> InstalledModel:
    """Downloads, or converts; processes that want the same wait for each other."""
    from filelock import FileLock, Timeout

    from dslocal import catalog, home

    quant = choice.offer.model.quant
    folder = home.cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"pull-{place.name}-{quant}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        shown.log(f"dslocal: another process is pulling {place.name} {quant}; waiting for it")
        lock.acquire()
    try:
        if (
            (kept := catalog.find_installed(f"{place.name}:{quant}"))
            and not kept.missing
            and kept.how in HOW[choice.offer.method]
        ):
            return kept
        kept = (
            _downloaded(place, choice, shown)
            if choice.offer.method == "ready-made"
            else _converted(place, choice, shown)
        )
        catalog.add_installed(kept)
        return kept
    finally:
        lock.release()


def _downloaded(
    place: PublishedLocation, choice: DownloadChoice, shown: ProgressDisplay
) -> InstalledModel:
    from dslocal import catalog
    from dslocal.gguf.parts import read_parts
    from dslocal.hub.download import download

    offer = choice.offer
    if offer.manifest is None:
        raise NotFoundError(f"{place.name}: nobody has looked at its files")
    folder = download(
        offer.remote,
        offer.manifest,
        offer.files,
        on_progress=shown.on_fetch,
        notify=lambda line: shown.log(f"dslocal: {line}"),
    )
    files, _ = read_parts(folder / offer.files[0].name)
    origin = (
        f"{offer.manifest.origin}@{offer.manifest.commit}"
        if offer.manifest.git
        else offer.manifest.origin
    )
    nbytes = sum(file.size for file in offer.files)
    return catalog.InstalledModel(
        place.name, offer.model.quant, files[0], files, nbytes, "downloaded", origin, time.time()
    )


def _converted(
    place: PublishedLocation, choice: DownloadChoice, shown: ProgressDisplay
) -> InstalledModel:
    """Shard by shard, unless the whole checkpoint is here."""
    import dslocal.convert as converter
    from dslocal import catalog, home
    from dslocal.api import checkpoint_source

    quant = choice.offer.model.quant
    folder = home.cache_dir() / "converted"
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{place.name}-{quant}.gguf"
    with checkpoint_source.opened(
        place, out, shown, stream=not checkpoint_source.is_whole_here(place)
    ) as files:
        plan = converter.plan_conversion(
            converter.open_checkpoint(files), [converter.recipe_named(quant)]
        )
        for warning in plan.warnings:
            shown.log(f"dslocal: {warning}")
        checkpoint_source.require_disk_space(plan, [out])
        report = converter.write_gguf(plan, [out], on_progress=shown.on_conversion)[0]
        revision = files.revision
    origin = (
        f"{place.remote.origin.partition('@')[0]}@{revision}" if revision else place.remote.origin
    )
    return catalog.InstalledModel(
        place.name,
        quant,
        report.path,
        (report.path,),
        report.nbytes,
        "converted",
        origin,
        time.time(),
    )


def _print_choice(
    place: PublishedLocation, choice: DownloadChoice, *, dry_run: bool, as_json: bool
) -> None:
    """Which way it is, why, and how it will run."""
    from dslocal.plan.assessment import VERDICT_LABELS

    offer, plan = choice.offer, choice.assessment.plan
    source = offer.remote.origin
    if as_json:
        if dry_run:
            fields = {
                "model": place.name,
                "quant": offer.model.quant,
                "way": offer.method,
                "from": source,
                "why": choice.why,
            }
            sizes = {
                "download": offer.model.download,
                "disk": offer.disk,
                "verdict": plan.verdict,
                "n_ctx": plan.load_config.n_ctx,
            }
            print(json.dumps({**fields, **sizes}))
        return
    where = "from the SSD" if plan.verdict == "ssd" else f"on the {VERDICT_LABELS[plan.verdict]}"
    runs = (
        f"runs {where} with {plan.load_config.n_ctx:,} tokens of context"
        if plan.verdict != "no"
        else "does not run here"
    )
    what = "ready-made" if offer.method == "ready-made" else "converted"
    lines = [
        f"{place.name} {offer.model.quant}, {what}, from {source}: {choice.why}",
        f"{decimal_size(offer.model.download)} to fetch, {decimal_size(offer.disk)} of disk at most; {runs}",
    ]
    for line in lines:
        print(line, file=sys.stdout if dry_run else sys.stderr)


def _print_kept(kept: InstalledModel, what: str, *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {
                    "name": kept.name,
                    "quant": kept.quant,
                    "path": str(kept.path),
                    "bytes": kept.nbytes,
                    "origin": kept.origin,
                }
            )
        )
    else:
        print(
            f"{kept.full_name} {what}: {kept.path} ({decimal_size(kept.nbytes)}); dslocal ask -m {kept.name} …"
        )
