"""``dslocal pull``: download a published model, ready-made or for conversion."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.option_groups import PublishedModel, with_option_groups
from dslocal.cli.options import AsJson, MinSpeed, Revision
from dslocal.errors import DoesNotFitError, ExitCode, UnreachableError, UsageError
from dslocal.files import decimal_size, stdin_is_terminal
from dslocal.terminal.sanitise import one_line, sanitise_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dslocal.catalog import InstalledModel
    from dslocal.catalog.downloads.download_choice import DownloadChoice
    from dslocal.catalog.downloads.offers import DownloadMethod
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.plan.assessment import Assessment, PlannedModel

ASK_ABOVE = 20 * 10**9  # bytes to fetch


@with_option_groups
def pull(
    *,
    model: PublishedModel,
    quant: Annotated[
        str | None,
        typer.Option(
            "--quant",
            metavar="TYPE",
            help="The quantization, such as Q4_K_M. [the best that is fast enough here]",
            show_default=False,
            autocompletion=completion_values.quants,
        ),
    ] = None,
    gguf: Annotated[bool, typer.Option("--gguf", help="Download only a ready-made file.")] = False,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert", help="Download and convert the checkpoint, which keeps an MTP layer."
        ),
    ] = False,
    revision: Revision = None,
    min_speed: MinSpeed = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Download without asking, however large the model is.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be downloaded, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download a model, or download and convert it.

    Repeat the command to continue an interrupted download.
    """
    from dslocal.catalog.locations import find_published
    from dslocal.cli.pulling.pull_model import find_equivalent
    from dslocal.cli.user_settings import fast_enough

    source = model.required("no model is named", hint="dslocal fit lists the models that run here")
    method = _chosen_method(gguf=gguf, convert=convert)
    location = find_published(source, revision=revision)
    if location is None:
        if revision is not None:
            raise UsageError(f"--revision: {source!r:.100} is not a model of the Hugging Face Hub")
        _print_local(source, quant, method, as_json=as_json)
        return
    quant = _chosen_quant(source, quant, location.quant)
    name = f"{location.name}:{quant}" if quant else location.name
    installed = find_equivalent(name, method)
    if installed and not dry_run:
        _print_installed(installed, "is here already", as_json=as_json)
        return
    enough = fast_enough(min_speed)
    try:
        choice = _choose(location, quant, method, enough)
    except UnreachableError as e:
        if not _print_offline(location, quant, method, enough, e, dry_run=dry_run, as_json=as_json):
            raise
        return
    _print_choice(location, choice, dry_run=dry_run, as_json=as_json)
    if dry_run:
        return
    _require_fit(location, choice, was_asked_for=quant is not None)
    if choice.offer.model.download > ASK_ABOVE and not yes:
        _ask(choice)
    installed = _pull(location, choice, as_json=as_json)
    _print_installed(installed, "is here", as_json=as_json)


def _chosen_quant(text: str, option: str | None, written: str) -> str | None:
    """Return the quantization that the option or the name asks for.

    Raises:
        UsageError: They ask for two.
    """
    if option and written and option.strip().upper() != written.upper():
        raise UsageError(
            f"--quant {option} contradicts {text:.200}, which names {written}",
            hint="use one of them",
        )
    return option.strip() if option else written or None


def _chosen_method(*, gguf: bool, convert: bool) -> DownloadMethod | None:
    if gguf and convert:
        raise UsageError("--gguf and --convert cannot be combined")
    if gguf:
        return "ready-made"
    return "converted" if convert else None


def _pull(location: PublishedLocation, choice: DownloadChoice, *, as_json: bool) -> InstalledModel:
    from dslocal.cli.pulling.pull_model import pull_model
    from dslocal.terminal.progress import show_progress

    try:
        with show_progress(location.name, as_json=as_json) as shown:
            return pull_model(location, choice, shown)
    except KeyboardInterrupt:
        print("dslocal: stopped; repeat the command to continue", file=sys.stderr)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _print_local(
    model: str, quant: str | None, method: DownloadMethod | None, *, as_json: bool
) -> None:
    """Print where a model is that is on this machine.

    Raises:
        NotFoundError: It is nowhere.
        UsageError: It is here, and not as the options ask for.
    """
    from dslocal import catalog
    from dslocal.catalog import resolve

    named = f"{model}:{quant}" if quant and not Path(model).exists() else model
    installed = catalog.find_installed(named) or resolve.find_spelled(named)
    if installed:
        _print_installed(installed, "is here already", as_json=as_json)
        return
    found = resolve.resolve_model(named)
    path = found if isinstance(found, Path) else found.folder
    if method is not None or (named == model and quant):
        raise UsageError(
            f"{model} is on this machine already, so it is not downloaded",
            hint=f"dslocal convert {model} -o FILE.gguf makes another file from it",
        )
    here = sanitise_line(f"{model} is here already: {path}")
    print(json.dumps({"path": str(path)}) if as_json else here)


def _print_offline(
    location: PublishedLocation,
    quant: str | None,
    method: DownloadMethod | None,
    enough: float,
    error: UnreachableError,
    *,
    dry_run: bool,
    as_json: bool,
) -> bool:
    """Print what would be fetched, as far as it is known without a network.

    Returns:
        Whether that is all that was asked for.
    """
    from dslocal.cli.pulling import offline
    from dslocal.hub.environment import endpoint

    entry = location.entry
    if entry is None or location.file:
        address = location.remote.origin.replace("hf:", f"{endpoint()}/")
        where = f"from {address}: the files and their sizes are known only to the hub"
        print(f"dslocal: {one_line(where)}; {offline.bring_line()}", file=sys.stderr)
        return False
    choice = _choose(location, quant, method, enough, check=False)
    if dry_run and as_json:
        fields = _choice_fields(location, choice)
        print(json.dumps({**fields, "files": offline.addresses(choice), "checked": False}))
    else:
        for line in offline.plan_lines(location, choice):
            print(line, file=sys.stdout if dry_run else sys.stderr)
    if dry_run:
        print(f"dslocal: not checked: {one_line(str(error))}", file=sys.stderr)
    return dry_run


def _choose(
    location: PublishedLocation,
    quant: str | None,
    method: DownloadMethod | None,
    enough: float,
    *,
    check: bool = True,
) -> DownloadChoice:
    """Return the best way to the best quantization that runs on this machine."""
    from dslocal import home
    from dslocal.api.planning import machines
    from dslocal.api.planning.assess import capped_context
    from dslocal.catalog.downloads.download_choice import choose_download
    from dslocal.cli.user_settings import plan_overrides
    from dslocal.plan.assessment import assess
    from dslocal.plan.choice import choose_quant

    machine, rates = machines.machine_and_rates()
    chosen = plan_overrides()

    def assess_here(model: PlannedModel) -> Assessment:
        return assess(model, machine, rates, capped_context(chosen, model))

    def choose(found: Iterable[Assessment]) -> Assessment:
        return choose_quant(found, enough)

    folder = home.cache_dir()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return choose_download(
        location, quant, method, assess_here, choose, machine.cores, free, check=check
    )


def _require_fit(
    location: PublishedLocation, choice: DownloadChoice, *, was_asked_for: bool
) -> None:
    """Refuse what cannot run here, unless just this quantization was asked for.

    Raises:
        DoesNotFitError: It cannot run here.
    """
    plan = choice.assessment.plan
    quant = choice.offer.model.quant
    if plan.verdict != "no":
        return
    message = (
        f"{location.name} {quant} cannot run here: "
        f"it needs {decimal_size(plan.lacking)} more memory"
    )
    if not was_asked_for:
        raise DoesNotFitError(
            message,
            hint=(
                f"--quant {quant} downloads it anyway; dslocal fit lists what runs here"
                f"{_smaller_namesake(location.name)}"
            ),
        )
    print(f"dslocal: {one_line(message)}", file=sys.stderr)


def _smaller_namesake(name: str) -> str:
    """Return what to say where Ollama calls another model by this name."""
    from dslocal import catalog

    other = catalog.find_entry(f"{name}:latest")
    if other is None or other.name == name:
        return ""
    return f"; what Ollama calls {name} is {other.name}"


def _ask(choice: DownloadChoice) -> None:
    """Ask whether to fetch so much.

    Raises:
        UsageError: stdin is not a terminal.
        typer.Exit: The answer is no.
    """
    from dslocal.terminal.confirmation import is_confirmed

    size = decimal_size(choice.offer.model.download)
    if not _has_user():
        raise UsageError(
            f"{size} would be downloaded, which cannot be confirmed because stdin is not a "
            "terminal",
            hint="--yes",
        )
    if not is_confirmed(f"Download {size}?", out=sys.stderr):
        print("dslocal: nothing was downloaded", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILURE)


def _has_user() -> bool:
    return stdin_is_terminal()


def _print_choice(
    location: PublishedLocation, choice: DownloadChoice, *, dry_run: bool, as_json: bool
) -> None:
    """Print which way it is, why, and how it will run."""
    from dslocal.cli.pulling.summary import how_it_runs

    offer = choice.offer
    if as_json:
        if dry_run:
            print(json.dumps(_choice_fields(location, choice)))
        return
    where = sys.stdout if dry_run else sys.stderr
    print(
        sanitise_line(
            f"{location.name} {offer.model.quant}, {offer.method}, from {offer.remote.origin}: "
            f"{choice.why}"
        ),
        file=where,
    )
    print(
        f"{decimal_size(offer.model.download)} to download, at most {decimal_size(offer.disk)} of "
        f"disk; {how_it_runs(choice.assessment)}",
        file=where,
    )


def _choice_fields(location: PublishedLocation, choice: DownloadChoice) -> dict[str, Any]:
    """Return a choice as ``--json`` prints it."""
    offer, plan = choice.offer, choice.assessment.plan
    return {
        "model": location.name,
        "quant": offer.model.quant,
        "way": offer.method,
        "from": offer.remote.origin,
        "why": choice.why,
        "download": offer.model.download,
        "disk": offer.disk,
        "verdict": plan.verdict,
        "n_ctx": plan.load_config.n_ctx,
    }


def _print_installed(installed: InstalledModel, what: str, *, as_json: bool) -> None:
    if as_json:
        fields = {
            "name": installed.name,
            "quant": installed.quant,
            "path": str(installed.path),
            "bytes": installed.nbytes,
            "origin": installed.origin,
        }
        print(json.dumps(fields))
        return
    size = decimal_size(installed.nbytes)
    print(
        f"{installed.full_name} {what}: {sanitise_line(installed.path)} ({size}); "
        f"dslocal ask -m {installed.name} …"
    )
