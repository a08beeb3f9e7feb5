"""Proves that a KV cache comes back from disk as it was, into the model that made it and no other,
and that damage is noticed.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.engine.kv_notes import change_note, put_note

import dslocal.convert as converter
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.kv_cache.kv_state import (
    END,
    MAGIC,
    read_note,
    remove_state,
    restore_state,
    save_state,
    state_bytes,
)
from dslocal.gguf.header import fingerprint
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

PROMPT = (
    "Forty-seven times eighty-six is four thousand and forty-two, and nobody is surprised. " * 4
)


@pytest.fixture(scope="module")
def q4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano in another quantization."""
    from dslocal.home.paths import bundled

    out = tmp_path_factory.mktemp("q4") / "nano-Q4_K_M.gguf"
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(bundled("nano"))),
        [converter.recipe_named("Q4_K_M")],
    )
    converter.write_gguf(plan, [out])
    return out


@pytest.fixture
def saved(nano: Path, tmp_path: Path) -> tuple[Path, list[int], np.ndarray]:
    """A state on disk, its ids, and the logits after one more."""
    with LlamaModel(nano) as model, LlamaContext(model, 512) as context:
        ids = model.encode(PROMPT)
        context.prefill(ids)
        path = tmp_path / "s.kv"
        assert save_state(context, path) == path.stat().st_size
        assert 0 < path.stat().st_size - state_bytes(context) < 1000  # the note
        context.evaluate(ids[:1])
        return path, ids, context.logits().copy()


def test_it_comes_back(nano: Path, saved: tuple[Path, list[int], np.ndarray]) -> None:
    path, ids, expected = saved
    with LlamaModel(nano) as model, LlamaContext(model, 1024) as context:
        context.prefill(model.encode("something else entirely"))
        assert restore_state(context, path) == len(ids)
        assert context.ids == ids
        context.evaluate(ids[:1])
        np.testing.assert_array_equal(context.logits(), expected)
        assert context.prefill([*ids, *ids[:3]]) == len(ids) + 1  # and the next prompt shares it
    assert [stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("*.kv")] == [0o600]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def note(**changes: object) -> Callable[[Path], None]:
    return lambda path: change_note(path, **changes)


def no_note(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: read_note(path)[1]])


def no_json(path: Path) -> None:
    put_note(path, b"\xff{")


def too_long_a_note(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -END.size] + END.pack(0xFFFFFFFF, MAGIC))


DAMAGE = [
    flip,
    cut,
    no_note,
    no_json,
    too_long_a_note,
    Path.unlink,
    note(tokens=-1),
    note(tokens=1 << 40),
    note(tokens="x"),
    note(tokens=None),
]
DAMAGE += [
    note(sha256=""),
    note(format=0),
    note(model="0" * 64),
    note(kv_type="Q8_0"),
    note(tokens=5),
]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_what_is_damaged_is_not_taken(
    nano: Path, saved: tuple[Path, list[int], np.ndarray], damage: Callable[[Path], None]
) -> None:
    path, _, _ = saved
    damage(path)
    with LlamaModel(nano) as model, LlamaContext(model, 512) as context:
        assert restore_state(context, path) == 0
        assert context.prefill(model.encode("still usable")) == 0


def test_another_quantization_is_another_model(
    q4: Path, nano: Path, saved: tuple[Path, list[int], np.ndarray]
) -> None:
    assert fingerprint(q4) != fingerprint(nano)
    with LlamaModel(q4) as model, LlamaContext(model, 512) as context:
        assert restore_state(context, saved[0]) == 0
        assert context.ids == []


@pytest.mark.parametrize(
    "load_config",
    [LoadConfig(512, kv_type=GgmlType.Q8_0), LoadConfig(32)],
    ids=["another type", "too short"],
)
def test_another_cache_is_not_filled(
    nano: Path, saved: tuple[Path, list[int], np.ndarray], load_config: LoadConfig
) -> None:
    with LlamaModel(nano) as model, LlamaContext(model, load_config) as context:
        assert restore_state(context, saved[0]) == 0


def test_weights_that_differ_in_a_few_places_are_distinguished(nano: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    data = bytearray(nano.read_bytes())
    data[len(data) * 2 // 3 :] = bytes(len(data) - len(data) * 2 // 3)
    other.write_bytes(data)
    assert fingerprint(other) != fingerprint(nano)


def test_nothing_is_saved_of_nothing_and_removal_is_complete(
    nano: Path, saved: tuple[Path, list[int], np.ndarray], tmp_path: Path
) -> None:
    with LlamaModel(nano) as model, LlamaContext(model, 64) as context:
        assert save_state(context, tmp_path / "empty.kv") == 0
    remove_state(saved[0])
    remove_state(saved[0])
    assert list(tmp_path.iterdir()) == []
