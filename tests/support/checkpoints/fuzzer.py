"""Seeded damage to valid checkpoints: bytes and JSON structure of the headers, the index and the
small files.

``Fuzzer(folder, base, work)`` holds one whole checkpoint in memory; :meth:`Fuzzer.attempt` writes
it out with the changes that a seed stands for, converts it, and raises :class:`Failed` when that
ends in anything but a GGUF or a DslocalError, or leaves a file behind. The same seed is always the
same case.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.checkpoints.damage import (
    BASES,
    REFUSED_BASES,
    convert_to,
    impatience,
    join_shard,
    make_base,
    split_shard,
)

from dslocal.errors import DslocalError
from dslocal.gguf.header import read_header

Json = Any
SECONDS = 5
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    127,
    128,
    255,
    256,
    1 << 15,
    1 << 16,
    1 << 24,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    1 << 53,
    1 << 62,
    (1 << 63) - 1,
)
HARD: tuple[Json, ...] = (
    None,
    0,
    -1,
    1 << 64,
    10**400,
    1e39,
    float("nan"),
    0.5,
    True,
    "\ud800",
    "\0",
    "",
    [],
    {},
    [[]],
    1e308,
)
ODDITIES: tuple[Json, ...] = (
    None,
    True,
    False,
    "",
    [],
    {},
    0.5,
    -0.0,
    1e-40,
    1e38,
    1e39,
    1e308,
    float("nan"),
    float("inf"),
    1 << 64,
    -(1 << 63),
    10**400,
    "x",
    "0",
    "\0",
    "\x1b[2J",
    "\n",
    "\u202e",
    "\ud800",
    "../x",
    "a/b",
    "é" * 300,
    [0],
    [[]],
    {"a": 1},
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
    "F32",
    "BF16",
    "F8_E4M3",
    "F16",
    "U8",
    "linear",
    "yarn",
    "llama3",
    "Sequence",
    "NFC",
    "ByteLevel",
    "Digits",
)
WEIGHTS = {"config.json": 3, "index.json": 2, ".safetensors": 3, "tokenizer.json": 4}


class Failed(Exception):
    """A case that went wrong, and what its seed did."""


class Fuzzer:
    """Cases of one kind of checkpoint. ``folder`` is for it alone; results go to ``out``, which is
    empty.
    """

    def __init__(self, base: str, work: Path) -> None:
        self.folder, self.out = work / base, work / f"{base}-out"
        self.out.mkdir(parents=True)
        make_base(self.folder, base)
        self._files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}
        weights = [
            next(weight for end, weight in WEIGHTS.items() if name.endswith(end))
            for name in self._files
        ]
        self._names = [
            name for name, weight in zip(self._files, weights, strict=True) for _ in range(weight)
        ]

    def attempt(self, seed: int, after: Callable[[Path], None] = lambda _: None) -> str:
        """Run one case and return the error's message, or nothing where there was none. ``after``
        may look at the GGUF.
        """
        dice = random.Random(seed)
        changed: dict[str, bytes] = {}
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            name = dice.choice(self._names)
            changed[name] = mutated(name, changed.get(name, self._files[name]), dice)
        for name, data in changed.items():
            (self.folder / name).write_bytes(data)
        try:
            return self._convert(after)
        except Exception as e:
            raise Failed(f"seed {seed}, {', '.join(changed)}: {type(e).__name__}: {e}") from e
        finally:
            for name in changed:
                (self.folder / name).write_bytes(self._files[name])

    def _convert(self, after: Callable[[Path], None]) -> str:
        made = self.out / "x.gguf"
        try:
            with impatience(SECONDS):
                convert_to(self.folder, made)
        except DslocalError as e:
            if left := list(self.out.iterdir()):
                raise Failed(f"{e}: leaves {left}") from e
            return str(e)
        read_header(made)
        after(made)
        made.unlink()
        if left := list(self.out.iterdir()):
            raise Failed(f"converted, and leaves {left}")
        return ""


def mutated(name: str, data: bytes, dice: random.Random) -> bytes:
    """Return ``data`` of the file ``name``, changed in one place."""
    if dice.random() < 0.15:
        return _bytes(data, dice)
    if not name.endswith(".safetensors"):
        return _tree(data, dice)
    try:
        header, rest = split_shard(data)
    except ValueError:  # an earlier mutation has cut it up
        return _bytes(data, dice)
    text = _tree(json.dumps(header).encode(), dice)
    return join_shard(
        text, rest, dice.choice(NUMBERS) % (1 << 64) if dice.random() < 0.05 else None
    )


def _bytes(data: bytes, dice: random.Random) -> bytes:
    size = min(len(data), 12_000)  # mostly the header
    i, n = dice.randrange(size + 1), dice.choice((1, 1, 1, 2, 8, 100))
    match dice.randrange(7):
        case 0:
            return data[:i] + bytes([dice.randrange(256)]) + data[i + 1 :]
        case 1:
            return data[:i] + data[i + n :]
        case 2:
            return data[:i] + data[i : i + n] * 2 + data[i + n :]
        case 3:
            return (
                data[:i]
                + dice.choice(
                    (
                        b'"',
                        b"\\",
                        b"{",
                        b"}",
                        b"[",
                        b"]",
                        b",",
                        b":",
                        b"\0",
                        b"\xff",
                        b"-",
                        b"e9",
                        b"\\ud800",
                    )
                )
                + data[i:]
            )
        case 4:
            return data[: dice.randrange(len(data) + 1)]
        case 5:
            return dice.choice(NUMBERS[:-1]).to_bytes(8, "little", signed=True) + data[8:]
        case _:
            return data[:i] + dice.randbytes(n) + data[i + n :]


def _tree(data: bytes, dice: random.Random) -> bytes:
    try:
        tree = json.loads(data)
    except ValueError:
        return _bytes(data, dice)
    place, key = _somewhere(tree, dice)
    if place is None:
        tree = _other(tree, dice)
    else:
        _change(place, key, dice)
    text = json.dumps(tree, ensure_ascii=dice.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _somewhere(tree: Json, dice: random.Random) -> tuple[Json, Json]:
    """Return a container and one of its keys, at any depth, or None where ``tree`` has none."""
    place, key = None, None
    while isinstance(tree, dict | list) and tree and (place is None or dice.random() < 0.6):
        place = tree
        key = dice.choice(list(tree)) if isinstance(tree, dict) else dice.randrange(len(tree))
        tree = tree[key]
    return place, key


def _change(place: Json, key: Json, dice: random.Random) -> None:
    others = list(place) if isinstance(place, dict) else list(range(len(place)))
    match dice.randrange(10):
        case 0:
            del place[key]
        case 1:
            other = dice.choice(others)
            place[key], place[other] = place[other], place[key]
        case 2 if isinstance(place, dict):
            place[
                dice.choice(
                    (
                        *others,
                        "",
                        "x",
                        "\x1b[2J",
                        "\ud800",
                        "__metadata__",
                        "model.layers.0.self_attn.q_proj.weight",
                    )
                )
            ] = place.pop(key)
        case 2 | 3 if isinstance(place, list):
            place.insert(key, place[key])
        case 3:
            place[f"{key}x"] = place[key]
        case 4:
            value = place[key]
            place[key] = [value]
        case _:
            place[key] = _other(place[key], dice)


def _other(value: Json, dice: random.Random) -> Json:
    """Return another value, usually of the same type."""
    if dice.random() < 0.5:
        return dice.choice(dice.choice((HARD, ODDITIES)))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return dice.choice(
            (value + 1, value - 1, value * 2, value // 2, -value, value + 256, dice.choice(NUMBERS))
        )
    if isinstance(value, float):
        return dice.choice((value * 2, -value, value * 1e30, value * 1e-30, 0.0))
    if isinstance(value, str):
        i = dice.randrange(len(value) + 1)
        return dice.choice(
            (
                value[:i],
                value[i:],
                value + value,
                value.swapcase(),
                value[:i] + dice.choice("\0\x1b \n'\"/é☃") + value[i:],
            )
        )
    return dice.choice(ODDITIES)


def bases() -> tuple[str, ...]:
    """Return the checkpoints that are converted as long as they are whole."""
    return tuple(base for base in BASES if base not in REFUSED_BASES)
