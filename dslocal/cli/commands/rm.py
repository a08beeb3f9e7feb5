"""``dslocal rm``: remove models, and delete the files that dslocal downloaded or converted."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.options import AsJson, WithoutAsking
from dslocal.errors import DslocalError, ExitCode, NotFoundError, UsageError
from dslocal.files import stdin_is_terminal

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.conversion_cache import CachedConversion
    from dslocal.catalog.leftovers import Leftover


def rm(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[:QUANT]...",
            help="Names as dslocal models lists them.",
            autocompletion=completion_values.installed,
        ),
    ] = None,
    yes: WithoutAsking = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    leftovers: Annotated[
        bool,
        typer.Option(
            "--leftovers",
            help="Delete what interrupted downloads and conversions left, in this folder and in "
            "the caches.",
        ),
    ] = False,
    logits: Annotated[
        bool,
        typer.Option(
            "--logits", help="Delete the log-probabilities and scores that dslocal quality keeps."
        ),
    ] = False,
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts", help="Delete the evaluated prompts that dslocal serve keeps on disk."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove models and the files that dslocal downloaded. Imported files stay."""
    from dslocal.files import decimal_size
    from dslocal.terminal.reports import model_list

    if not (names or leftovers or logits or prompts):
        raise UsageError(
            "no model is named",
            hint="dslocal models lists the models; --leftovers deletes what interrupted work left, "
            "--logits what dslocal quality keeps, --prompts what dslocal serve keeps",
        )
    targets = find_targets(names or [])
    targets.add_files(leftovers=leftovers, logits=logits, prompts=prompts)
    if not (yes or dry_run or targets.is_empty or stdin_is_terminal()):
        raise UsageError(
            "deletion cannot be confirmed, because stdin is not a terminal",
            hint="--yes deletes without asking, --dry-run shows what would be deleted",
        )
    steps = list(_steps(targets))
    freed = sum(step["bytes"] for step in steps)
    if not as_json:
        model_list.print_removal(steps)
    if not targets.is_empty and not dry_run:
        if not yes:
            _ask(freed, as_json=as_json)
        freed = _remove(targets)
    if as_json:
        print(json.dumps({"removed": steps, "freed": freed, "dry_run": dry_run}))
    elif not targets.is_empty:
        print(f"{'would free' if dry_run else 'freed'} {decimal_size(freed)}")


@dataclass(frozen=True)
class ModelName:
    """A model as the user named it.

    Attributes:
        text: What was given.
        name: The model's name, in lower case.
        quant: The quantization, in lower case; empty where all are meant.
    """

    text: str
    name: str
    quant: str

    def matches(self, name: str, quant: str) -> bool:
        """Return whether a model of this name and quantization is meant."""
        return self.name == name.lower() and self.quant in ("", quant.lower())


def parse_name(text: str) -> ModelName:
    """Return the name and the quantization of ``NAME`` or ``NAME:QUANT``."""
    quant = text.rpartition(":")[2]
    if not quant or quant == text:
        return ModelName(text, text.lower(), "")
    return ModelName(text, text[: -len(quant) - 1].lower(), quant.lower())


@dataclass
class RemovalTargets:
    """What is removed.

    Attributes:
        models: Models that were pulled or imported, by full name.
        conversions: GGUF files in the cache, by path.
        leftovers: What interrupted work left, and what dslocal quality and dslocal serve keep.
        in_use: Those of them that another process uses, which stay.
    """

    models: dict[str, InstalledModel] = field(default_factory=dict)
    conversions: dict[Path, CachedConversion] = field(default_factory=dict)
    leftovers: list[Leftover] = field(default_factory=list)
    in_use: list[Leftover] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to remove."""
        return not (self.models or self.conversions or self.idle_leftovers)

    @property
    def idle_leftovers(self) -> list[Leftover]:
        """Return the leftovers that are deleted."""
        return [leftover for leftover in self.leftovers if leftover not in self.in_use]

    def add_files(self, *, leftovers: bool, logits: bool, prompts: bool) -> None:
        """Add files that belong to no model, and the evaluated prompts of those that go.

        Args:
            leftovers: Whether what interrupted work left is removed.
            logits: Whether what dslocal quality keeps is removed.
            prompts: Whether the evaluated prompts of all models are removed.
        """
        from dslocal.catalog.leftovers import (
            find_kept_logits,
            find_kept_prompts,
            find_leftovers,
            is_in_use,
        )

        if leftovers:
            self.leftovers += find_leftovers()
        if logits:
            self.leftovers += find_kept_logits()
        if prompts:
            self.leftovers += find_kept_prompts()
        else:
            for file in [*self.conversions, *(model.path for model in self.models.values())]:
                self.leftovers += _kept_prompts_of(file)
        self.in_use = [leftover for leftover in self.leftovers if is_in_use(leftover)]


def _kept_prompts_of(file: Path) -> list[Leftover]:
    """Return the evaluated prompts of a model's file; none where it is no GGUF file, or is gone."""
    from dslocal.catalog.leftovers import find_kept_prompts
    from dslocal.errors import GgufError
    from dslocal.gguf.header import fingerprint

    try:
        return find_kept_prompts(fingerprint(file))
    except (OSError, GgufError):
        return []


def find_targets(names: Sequence[str]) -> RemovalTargets:
    """Return what ``names`` mean, before anything is touched.

    Raises:
        NotFoundError: The model is not on this machine.
        UsageError: A name means several.
    """
    from dslocal import catalog
    from dslocal.catalog import conversion_cache

    registry = catalog.load_registry()
    all_installed = catalog.installed_models()
    all_conversions = conversion_cache.cached_conversions()
    targets = RemovalTargets()
    for name in map(parse_name, names):
        installed = [model for model in all_installed if name.matches(model.name, model.quant)]
        conversions = [file for file in all_conversions if name.matches(file.name, file.quant)]
        entry = registry.get(name.name)
        ships = entry is not None and entry.local is not None
        if installed and (name.quant or not ships):
            model = _only_one(name, installed)
            targets.models[model.full_name] = model
        elif conversions:
            targets.conversions.update({file.path: file for file in conversions})
        elif ships:
            print(
                f"dslocal: {name.text.partition(':')[0]} ships with dslocal, and there is no "
                "converted file of it to delete",
                file=sys.stderr,
            )
        elif found := _found_otherwise(name.text, all_installed):
            targets.models[found.full_name] = found
        else:
            raise _nothing_to_remove(name.text)
    return targets


def _found_otherwise(text: str, installed: Sequence[InstalledModel]) -> InstalledModel | None:
    """Return the model that is named by one of its files, or in another program's spelling."""
    from dslocal.catalog import resolve

    path = Path(os.path.normpath(Path(text).expanduser().absolute()))
    for model in installed:
        if path in model.files:
            return model
    return None if not text or path.exists() else resolve.find_spelled(text)


def _nothing_to_remove(text: str) -> DslocalError:
    """Return the error for a name of which nothing is here to remove."""
    from dslocal.catalog import installed_models, resolve
    from dslocal.catalog.names.suggestions import nearest_names
    from dslocal.files import is_file, is_folder

    path = Path(text).expanduser()
    if text and (is_file(path) or is_folder(path)):
        return UsageError(
            f"{text:.200} is a file or folder of yours, not a model that dslocal keeps",
            hint=f"delete it yourself: rm {'-r ' if is_folder(path) else ''}{shlex.quote(text)}",
        )
    near = nearest_names(text, {model.name: model.name for model in installed_models()})
    suggested = f"did you mean {' or '.join(near)}? " if near else ""
    return NotFoundError(
        f"no model called {text!r:.200} is on this machine",
        hint=f"{suggested}on this machine: {resolve.installed_names()}",
    )


def _only_one(name: ModelName, installed: list[InstalledModel]) -> InstalledModel:
    if len(installed) > 1:
        raise UsageError(
            f"{name.text} is here in {len(installed)} quantizations",
            hint="one of " + ", ".join(model.full_name for model in installed),
        )
    return installed[0]


def _steps(targets: RemovalTargets) -> Iterator[dict[str, Any]]:
    """Yield what is done to each target, as ``--json`` prints it."""
    from dslocal.catalog.removal import plan_removal

    for model in targets.models.values():
        removal = plan_removal(model)
        yield {
            "name": removal.entry.name,
            "quant": removal.entry.quant,
            "bytes": removal.nbytes,
            "why": removal.why,
            "deleted": [str(file) for file in removal.goes],
            "stays": [str(file) for file in removal.stays],
        }
    for conversion in targets.conversions.values():
        yield {
            "name": conversion.name,
            "quant": conversion.quant,
            "bytes": conversion.nbytes,
            "why": "it is converted again when it is used",
            "deleted": [str(conversion.path)],
            "stays": [],
        }
    for leftover in targets.leftovers:
        stays = leftover in targets.in_use
        yield {
            "name": None,
            "quant": None,
            "bytes": 0 if stays else leftover.nbytes,
            "why": "a process is writing it" if stays else "",
            "deleted": [] if stays else [str(leftover.path)],
            "stays": [str(leftover.path)] if stays else [],
        }


def _ask(freed: int, *, as_json: bool) -> None:
    """Ask whether to delete.

    Raises:
        typer.Exit: The answer is not yes.
    """
    from dslocal.files import decimal_size
    from dslocal.terminal.confirmation import is_confirmed

    where = sys.stderr if as_json else sys.stdout
    if not is_confirmed(f"free {decimal_size(freed)}?", out=where):
        print("dslocal: nothing was removed", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILURE)


def _remove(targets: RemovalTargets) -> int:
    """Remove everything, and return the bytes that were freed."""
    from dslocal.catalog.leftovers import delete_leftover
    from dslocal.catalog.removal import remove_model
    from dslocal.terminal.sanitise import one_line

    freed = sum(remove_model(model).nbytes for model in targets.models.values())
    for conversion in targets.conversions.values():
        try:
            conversion.path.unlink(missing_ok=True)
        except OSError as e:
            raise DslocalError(f"{conversion.path}: cannot be deleted: {e.strerror}") from e
        freed += conversion.nbytes
    for leftover in targets.idle_leftovers:
        if delete_leftover(leftover):
            freed += leftover.nbytes
        else:
            print(
                f"dslocal: {one_line(str(leftover.path))} stays: a process is writing it",
                file=sys.stderr,
            )
    return freed
