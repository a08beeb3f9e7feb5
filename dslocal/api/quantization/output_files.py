"""The outputs of conversions and quantizations: recipes, names, folder, and writing them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.api.arguments.argument_types import FLAG, FUNCTION, PATH, TEXT, TEXTS, WHOLE_NUMBER
from dslocal.api.arguments.sizes import size_in_bytes
from dslocal.api.arguments.writable import require_writable_folder
from dslocal.errors import ConversionError, NotFoundError, UsageError
from dslocal.plan.mtp_file import SUFFIX as SIDECAR_SUFFIX

from .auto_files import AUTO, was_writing

if TYPE_CHECKING:
    from dslocal.api.progress import WorkProgress
    from dslocal.convert import ConversionPlan, ConversionReport, Imatrix, Recipe, Split

    from .auto_files import AutoImatrix

DEFAULT_QUANT = "Q4_K_M"
# of the functions that write such files: their arguments have the same names
ARGUMENT_TYPES = {
    **dict.fromkeys(("source", "output"), PATH),
    **dict.fromkeys(("recipe", "imatrix"), PATH.or_none),
    **dict.fromkeys(("size", "split_size", "revision"), TEXT.or_none),
    **dict.fromkeys(("keep_intermediate", "split_experts", "stream"), FLAG),
    **dict.fromkeys(("overwrite", "allow_larger"), FLAG),
    **dict.fromkeys(("on_progress", "on_fetched"), FUNCTION.or_none),
    **dict.fromkeys(("on_evaluated", "on_notice"), FUNCTION.or_none),
    "quant": TEXTS.or_none,
    "jobs": WHOLE_NUMBER.or_none,
}


def choose_recipes(
    quant: str | Sequence[str] | None, file: Path | None, size: str | None
) -> list[Recipe]:
    """Return the requested recipes: by name, by file, or by size.

    Raises:
        UsageError: more than one way is given, or a name twice.
    """
    import dslocal.convert as converter

    if sum(option is not None for option in (quant, file, size)) > 1:
        raise UsageError("--quant, --recipe and --size cannot be combined")
    if file:
        return [converter.load_recipe(file)]
    if size:
        return [converter.SizedRecipe(size.strip().replace("/", "_"), size_in_bytes(size))]
    names = quant or DEFAULT_QUANT
    listed = names.split(",") if isinstance(names, str) else list(names)
    recipes: list[Recipe] = [converter.recipe_named(name.strip()) for name in listed]
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise UsageError(f"--quant {','.join(listed)}: a quantization is given twice")
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
    """Return the output file of each recipe, and then that of the draft model.

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
            f"{output}: this names one file for {len(recipes)} quantizations",
            hint="name a folder (with a slash at the end if it is new), or put {quant} into the "
            "name",
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
            raise UsageError(f"{target} exists already", hint="add --force to replace it")
    return targets


def choose_split(split_experts: bool, split_size: str | None) -> Split:
    """Return how outputs are spread over files.

    Args:
        split_experts: Whether routed experts go into files of their own.
        split_size: No file is larger than this, such as "40GB"; None for no limit.

    Raises:
        UsageError: the size cannot be read.
    """
    import dslocal.convert as converter

    return converter.Split(split_experts, size_in_bytes(split_size) if split_size else 0)


def given_imatrix(imatrix: str | Path | None) -> Imatrix | None:
    """Return the importance matrix in a file; None without one, or if "auto" makes it first."""
    import dslocal.convert as converter

    if imatrix is None or imatrix == AUTO:
        return None
    return converter.load_imatrix(Path(imatrix))


@contextmanager
def output_folder(targets: Sequence[Path]) -> Iterator[None]:
    """Create the folder of the outputs if it is new; remove it again if nothing was written.

    Raises:
        ConversionError: It cannot be made, or no file can be made in it. That is found before a
            checkpoint is fetched or a text is evaluated.
    """
    folder = targets[0].parent
    is_new = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise ConversionError(f"{folder}: cannot be made: {e.strerror}") from e
    try:
        require_writable_folder(folder)
    except OSError as e:
        raise ConversionError(f"{folder}: cannot be written to: {e.strerror}") from e
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # an interrupted conversion lies in it, to be continued
                folder.rmdir()
        raise


def log_name_notice(targets: Sequence[Path], progress: WorkProgress) -> None:
    """Tell the user if the name of an output does not end in .gguf."""
    other = next((target for target in targets if target.suffix.lower() != ".gguf"), None)
    if other is not None:
        progress.log(
            f"dslocal: {other.name} does not end in .gguf: programs recognize GGUF files by that "
            "ending"
        )


def log_warnings(planned: ConversionPlan, progress: WorkProgress) -> None:
    """Pass the warnings of a plan on to the user."""
    for warning in planned.warnings:
        progress.log(f"dslocal: {warning}")


def write_planned(
    planned: ConversionPlan,
    targets: Sequence[Path],
    auto: AutoImatrix | None,
    progress: WorkProgress,
    *,
    jobs: int | None,
    on_planned: Callable[[ConversionPlan], None] | None,
) -> list[ConversionReport]:
    """Write every output; return a report for each.

    Args:
        planned: The plan of the outputs.
        targets: A file for each output.
        auto: The files of the importance matrix that was made first, which are deleted or kept at
            the end; None if none was made.
        progress: Receives how much is written.
        jobs: Threads; one a core without it.
        on_planned: Receives the plan before anything is written.
    """
    import dslocal.convert as converter

    if on_planned:
        on_planned(planned)
    reports = converter.write_gguf(planned, targets, jobs=jobs, on_progress=progress.on_conversion)
    if auto is not None:
        auto.finish()
    return reports
