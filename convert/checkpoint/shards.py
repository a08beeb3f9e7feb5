"""Find the files with a checkpoint's weights: by its index, or by the names of the files.

An index names the shard of every tensor. Copies, merge scripts and partial downloads lose it; then
the shards that are there are read, if their numbering has no gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dslocal.errors import CheckpointError, UnsupportedModelError

from .refusals import weights_error
from .source import Source, is_plain_name

INDEX = "model.safetensors.index.json"
INDEX_SUFFIX = ".safetensors.index.json"
SINGLE = "model.safetensors"
SUFFIX = ".safetensors"
MAX_SHARDS = 10_000
MAX_NAMED = 3  # files that a message names one by one
# other things than the model's weights, or a second copy of them in another layout
_BESIDE = re.compile(r"(adapter_|consolidated|optimizer|scheduler|training_|imatrix|rng_).*")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})\.safetensors")
# as DeepSeek's own inference/convert.py names the parts for each GPU
_MODEL_PARALLEL = re.compile(r"model\d+-mp\d+\.safetensors")


class Shards(NamedTuple):
    """The files to read.

    Attributes:
        names: In order.
        shard_of: The shard of each tensor by the index; empty without one.
        notices: What the user should know, such as files that are not read.
    """

    names: tuple[str, ...]
    shard_of: Mapping[str, str] = {}
    notices: tuple[str, ...] = ()


def index_file(source: Source) -> str:
    """Return the name of the index; empty where there is none, or several."""
    if source.exists(INDEX):
        return INDEX
    others = [file for file in source.files() if file.endswith(INDEX_SUFFIX)]
    return others[0] if len(others) == 1 else ""


def find_shards(source: Source, index: str, shard_of: Mapping[str, str]) -> Shards:
    """Return the files that hold the weights.

    Args:
        source: The files of the checkpoint.
        index: The index's name; empty where there is none.
        shard_of: What it says.

    Raises:
        CheckpointError: One is missing, or what is there is something else than safetensors.
    """
    there = [file for file in source.files() if _is_shard_name(file)]
    listed = tuple(dict.fromkeys(shard_of.values()))
    if len(listed) > MAX_SHARDS:
        raise CheckpointError(
            f"lists {len(listed):,} shards; more than {MAX_SHARDS:,} cannot be right", file=index
        )
    missing = [shard for shard in listed if not source.exists(shard)]
    notices: list[str] = []
    if listed and not missing:
        shards = Shards(listed, shard_of)
    else:
        others = [file for file in there if not _BESIDE.fullmatch(file)]
        if listed and (len(missing) < len(listed) or not others):
            raise _missing_shards(source, missing, len(listed))
        if listed:
            notices.append(f"{index} names other files than those in the folder, so it is ignored")
        shards = Shards(_unlisted_shards(source, there))
    for shard in shards.names:
        _require_finished(source, shard)
    read = set(shards.names)
    unread = [file for file in there if file not in read and not file.startswith("consolidated")]
    if unread:
        notices.append(f"{_few(unread)}: not among the checkpoint's shards, so they are not read")
    return shards._replace(notices=tuple(notices))


def _is_shard_name(file: str) -> bool:
    """Return whether it is the name of a shard; macOS leaves ._NAME beside files on other disks."""
    return file.endswith(SUFFIX) and is_plain_name(file) and not file.startswith(".")


def _unlisted_shards(source: Source, there: Sequence[str]) -> tuple[str, ...]:
    """Return the shards of a checkpoint without a usable index. Raises CheckpointError."""
    parallel = next((file for file in there if _MODEL_PARALLEL.fullmatch(file)), None)
    if parallel:
        raise UnsupportedModelError(
            "is one GPU's part, as DeepSeek's inference/convert.py writes it",
            file=parallel,
            hint="use the original checkpoint",
        )
    weights = [file for file in there if not _BESIDE.fullmatch(file)]
    weights = weights or [file for file in there if file.startswith("consolidated")]
    if SINGLE in weights:
        return (SINGLE,)
    if not weights:
        raise weights_error(source)
    series = _series(weights)
    of_model = [one for one in series if one.stem == "model"]
    whole = [one for one in of_model if not one.absent]
    chosen = whole if len(whole) == 1 else of_model
    for one in chosen or series:
        _require_whole(one)
    names = [name for one in chosen for name in one.names]
    return tuple(sorted(names or weights))


class _NumberedShards(NamedTuple):
    """The shards of one stem and count that are there, and the numbers that are not."""

    stem: str
    total: int
    names: list[str]
    absent: list[int]


def _series(names: Iterable[str]) -> list[_NumberedShards]:
    """Return the numbered ones of ``names`` by stem and count."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            shards = found.setdefault((match["stem"], int(match["count"])), {})
            shards[int(match["number"])] = name
    series = []
    for (stem, count), shards in found.items():
        first = 0 if 0 in shards else 1  # some scripts count from 0
        absent = [n for n in range(first, first + min(count, MAX_SHARDS)) if n not in shards]
        series.append(_NumberedShards(stem, count, list(shards.values()), absent))
    return series


def _require_whole(series: _NumberedShards) -> None:
    """Raise CheckpointError where a number between the first and the last is not there."""
    if not series.absent:
        return
    count, absent = series.total, series.absent
    width = max(5, len(f"{count}"))
    raise CheckpointError(
        f"is missing: by the names of the other shards, {len(absent)} of {count} are not here",
        file=f"{series.stem}-{absent[0]:0{width}}-of-{count:0{width}}{SUFFIX}",
        hint="download the rest of the checkpoint",
    )


def _missing_shards(source: Source, missing: Sequence[str], count: int) -> CheckpointError:
    """Return the error for shards that an index names and that are not there."""
    first = missing[0]
    try:
        source.open(first).close()
    except CheckpointError as e:
        if len(missing) == count:
            return weights_error(source, absent=e)
        hint = e.hint if len(missing) == 1 else f"{len(missing)} of {count} shards are missing"
        why = str(e).removeprefix(f"{first}: ")
        return CheckpointError(why, file=first, hint=hint)
    return CheckpointError("is missing", file=first)  # it has come meanwhile


def _require_finished(source: Source, shard: str) -> None:
    """Raise CheckpointError for a shard that aria2 is still fetching; its length is right."""
    if source.exists(f"{shard}.aria2"):
        raise CheckpointError(
            "is an unfinished download of aria2",
            file=shard,
            hint=f"finish it with aria2c -c, which then deletes {shard}.aria2",
        )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
