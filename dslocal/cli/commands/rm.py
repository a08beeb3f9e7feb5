"""``dslocal rm``: forgets models, and deletes those of their files that dslocal made."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.options import AsJson
from dslocal.errors import DslocalError, NotFoundError, UsageError
from dslocal.files import decimal_size

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.leftovers import Leftover
    from dslocal.catalog.resolve import CachedConversion


def rm(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[:QUANT]...",
            help="As dslocal models lists them.",
            autocompletion=completion_values.installed,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    leftovers: Annotated[
        bool,
        typer.Option("--leftovers", help="Delete what interrupted downloads and conversions left."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forget models and delete what dslocal converted or downloaded for them; imported files
    stay.
    """
    from dslocal.catalog.leftovers import find_leftovers as found

    if not names and not leftovers:
        raise UsageError(
            "no model is named",
            hint="dslocal models lists them; --leftovers deletes what interrupted work left",
        )
    from dslocal.catalog.leftovers import is_in_use
    from dslocal.terminal.reports import model_list

    models, conversions = _named(names or [])
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UsageError(
            "nobody is there to say yes",
            hint="--yes deletes without asking, --dry-run says what would go",
        )
    left = [(one, is_in_use(one)) for one in found()] if leftovers else []
    idle = [one for one, used in left if not used]
    plan = [
        *_planned(models),
        *map(_conversion, conversions),
        *(_leftover(one, used) for one, used in left),
    ]
    freed = sum(step["bytes"] for step in plan)
    if not as_json:
        model_list.print_removal(plan)
    something = bool(models or conversions or idle)
    if something and not dry_run:
        if not yes:
            _ask(freed, as_json=as_json)
        freed = _remove(models, conversions, idle)
    if as_json:
        print(json.dumps({"removed": plan, "freed": freed, "dry_run": dry_run}))
    elif something:
        print(f"{'would free' if dry_run else 'freed'} {decimal_size(freed)}")


def _named(names: list[str]) -> tuple[list[InstalledModel], list[CachedConversion]]:
    """What ``names`` mean, before anything is touched. Raises NotFoundError, and UsageError where
    one name means several.
    """
    from dslocal import catalog
    from dslocal.catalog import resolve as by_name

    kept: dict[str, InstalledModel] = {}
    conversions: dict[str, CachedConversion] = {}
    registry, all_kept, cached = (
        catalog.load_registry(),
        catalog.installed_models(),
        by_name.cached_conversions(),
    )
    for name in names:
        plain, colon, quant = name.rpartition(":") if ":" in name else (name, "", "")
        if colon and not quant:
            plain = name  # which is none
        made = [
            one
            for one in cached
            if plain.lower() == one.name.lower() and quant.lower() in ("", one.quant.lower())
        ]
        same = [
            one
            for one in all_kept
            if plain.lower() == one.name and quant.lower() in ("", one.quant.lower())
        ]
        shipped = (entry := registry.get(plain.lower())) is not None and entry.local is not None
        if not colon and len(same) > 1 and not shipped:
            raise UsageError(
                f"{plain} is here in {len(same)} quantizations",
                hint="one of " + ", ".join(one.full_name for one in same),
            )
        if same and (colon or not shipped):
            kept[same[0].full_name] = same[0]
        elif made:
            conversions |= {str(one.path): one for one in made}
        elif not shipped:
            raise NotFoundError(
                f"no model called {name!r:.200} is on this machine",
                hint=f"here: {by_name.installed_names()}",
            )
        else:
            print(
                f"dslocal: {plain} ships with dslocal, and nothing of it is converted",
                file=sys.stderr,
            )
    return list(kept.values()), list(conversions.values())


def _planned(models: list[InstalledModel]) -> list[dict[str, Any]]:
    from dslocal.catalog.removal import plan_removal

    return [
        {
            **{
                "name": removal.entry.name,
                "quant": removal.entry.quant,
                "bytes": removal.nbytes,
                "why": removal.why,
            },
            **{
                "deleted": [str(file) for file in removal.goes],
                "stays": [str(file) for file in removal.stays],
            },
        }
        for removal in map(plan_removal, models)
    ]


def _conversion(one: CachedConversion) -> dict[str, Any]:
    return {
        **{
            "name": one.name,
            "quant": one.quant,
            "bytes": one.nbytes,
            "why": "it is converted again when it is used",
        },
        **{"deleted": [str(one.path)], "stays": []},
    }


def _leftover(one: Leftover, used: bool) -> dict[str, Any]:
    files = {"deleted": [] if used else [str(one.path)], "stays": [str(one.path)] if used else []}
    return {
        "name": None,
        "quant": None,
        "bytes": 0 if used else one.nbytes,
        "why": "a process is writing it" if used else "",
        **files,
    }


def _ask(freed: int, *, as_json: bool) -> None:
    """Raises Exit unless the answer is yes."""

    print(
        f"free {decimal_size(freed)}? [y/N] ",
        end="",
        file=sys.stderr if as_json else sys.stdout,
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print("dslocal: nothing was removed", file=sys.stderr)
        raise typer.Exit(1)


def _remove(
    models: list[InstalledModel], conversions: list[CachedConversion], idle: list[Leftover]
) -> int:
    """Does it, and returns the bytes that were freed."""
    from dslocal.catalog.leftovers import delete_leftover
    from dslocal.catalog.removal import remove_model
    from dslocal.terminal.sanitise import one_line

    freed = sum(remove_model(model).nbytes for model in models)
    for conversion in conversions:
        try:
            conversion.path.unlink(missing_ok=True)
            freed += conversion.nbytes
        except OSError as e:
            raise DslocalError(f"{conversion.path}: cannot be deleted: {e.strerror}") from e
    for one in idle:
        if delete_leftover(one):
            freed += one.nbytes
        else:
            print(
                f"dslocal: {one_line(str(one.path))} stays: a process is writing it",
                file=sys.stderr,
            )
    return freed
