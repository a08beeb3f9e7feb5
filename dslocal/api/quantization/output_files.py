"""Which files conversions and quantizations write: their recipes, names and folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.api.sizes import size_in_bytes
from dslocal.errors import ConversionError, NotFoundError, UsageError
from dslocal.plan.mtp_file import SUFFIX as SIDECAR_SUFFIX

from .auto_files import was_writing

if TYPE_CHECKING:
    from dslocal.convert import Recipe

DEFAULT_QUANT = "Q4_K_M"


def choose_recipes(
    quant: str | Sequence[str] | None, file: Path | None, size: str | None
) -> list[Recipe]:
    """Return the recipes that are asked for: by name, by file, or by size.

    Raises:
        UsageError: more than one way is given, or a name twice.
    """
    import dslocal.convert as converter

    if sum(option is not None for option in (quant, file, size)) > 1:
        raise UsageError("--quant, --recipe and --size exclude each other")
    if file:
        return [converter.load_recipe(file)]
    if size:
        return [converter.SizedRecipe(size.strip().replace("/", "_"), size_in_bytes(size))]
    names = quant or DEFAULT_QUANT
    listed = names.split(",") if isinstance(names, str) else list(names)
    recipes: list[Recipe] = [converter.recipe_named(name.strip()) for name in listed]
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise UsageError(f"--quant {','.join(listed)}: the same twice")
    return recipes


def choose_outputs(
    output: str | Path | None,
    name: str,
    recipes: Sequence[Recipe],
    *,
    overwrite: bool,
    has_drafter: bool = False,
    is_auto: bool = False,
) -> list[Path]:
    """Return where each recipe's output goes, and after them the draft model.

    Args:
        output: A file, or a folder; one that is not there yet ends in a slash, and is made by
            :func:`output_folder`.
        name: What the checkpoint is called.
        recipes: One for each output.
        overwrite: Whether files that are there may be replaced.
        has_drafter: Whether V4's draft model is written, too.
        is_auto: Whether an importance matrix is made first. Then the outputs of an interrupted
            run may be replaced.

    Raises:
        UsageError: a file is there already, or one file is named for several quantizations.
        NotFoundError: the folder does not exist.
    """
    default = f"{name}-{{quant}}.gguf"
    is_new_folder = output is not None and str(output).endswith(("/", os.sep))
    if output is None:
        pattern = default
    elif is_new_folder or Path(output).is_dir():
        pattern = str(Path(output) / default)
    else:
        pattern = str(output)
    targets = [Path(pattern.replace("{quant}", recipe.name)) for recipe in recipes]
    if len(set(targets)) < len(targets):
        raise UsageError(
            f"{output}: one file for {len(recipes)} quantizations",
            hint="a folder, which ends in a slash if it is new, or {quant} in the name",
        )
    if has_drafter and len(targets) > 1:
        targets.append(Path(pattern.replace("{quant}", "mtp")))
    elif has_drafter:
        targets.append(targets[0].with_name(targets[0].stem + SIDECAR_SUFFIX))
    overwrite = overwrite or (is_auto and was_writing(targets[0]))
    for target in targets:
        folder = target.parent.parent if is_new_folder else target.parent
        if not folder.is_dir():
            raise NotFoundError(f"{folder}: no such folder")
        if is_new_folder and target.parent.exists() and not target.parent.is_dir():
            raise UsageError(f"{target.parent}: is a file, and a folder is needed")
        if target.is_dir():
            raise UsageError(f"{target}: is a folder")
        if target.exists() and not overwrite:
            raise UsageError(f"{target}: is already there", hint="--force replaces it")
    return targets


@contextmanager
def output_folder(targets: Sequence[Path]) -> Iterator[None]:
    """Make the folder of the outputs where it is new; take it away again if nothing came of it."""
    folder = targets[0].parent
    is_new = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise ConversionError(f"{folder}: cannot be made: {e.strerror}") from e
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # an interrupted conversion lies in it, to be continued
                folder.rmdir()
        raise


def name_notice(targets: Sequence[Path]) -> str:
    """Return what to say of outputs that are not called as GGUF files are; empty otherwise."""
    other = next((target for target in targets if target.suffix.lower() != ".gguf"), None)
    if other is None:
        return ""
    return f"{other.name} does not end in .gguf: programs find GGUF files by that ending"
