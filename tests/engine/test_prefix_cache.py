"""Proves that evaluated prompts come back from disk, exactly and into their own model alone; that
damaged and foreign files go, and that the budget is kept.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.engine.kv_notes import change_note
from support.engine.speculation import generate
from support.gguf.tiny_v4 import N_VOCAB, write_tiny_v4

from dslocal.catalog.leftovers import find_leftovers, is_in_use
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.kv_cache.kv_state import state_identity, write_state
from dslocal.engine.prefix_cache.prefix_cache import PrefixCache
from dslocal.engine.prefix_cache.store import PrefixStore
from dslocal.engine.slots.slot_pool import SlotPool
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

BUDGET = 1 << 30
N_CTX = 1024


def numbered(count: int, seed: int = 1) -> list[int]:
    """Return a prompt of so many token ids."""
    drawn = random.Random(seed)
    return [drawn.randrange(100, 4000) for _ in range(count)]


def open_cache(
    context: LlamaContext, root: Path, *, budget: int = BUDGET, min_saved_s: float = 0.0
) -> PrefixCache:
    store = PrefixStore(
        root, state_identity(context), budget, can_cut=not context.memory.max_checkpoints
    )
    return PrefixCache(store, context.n_ctx, min_saved_s=min_saved_s)


def files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.kv"))


def keep(context: LlamaContext, root: Path, prompt: list[int]) -> Path:
    """Evaluate a prompt, keep it, and return its file."""
    before = files(root)
    context.clear()
    context.prefill(prompt)
    cache = open_cache(context, root)
    cache.keep_cold(context)
    cache.close()
    (made,) = set(files(root)) - set(before)
    return made


def restored(context: LlamaContext, root: Path, prompt: list[int], have: int = 0) -> int:
    """Return how many tokens of a prompt are there from a file."""
    context.clear()
    cache = open_cache(context, root)
    found = cache.find(context, prompt, have)
    if found is not None:
        cache.load(context, found)
    cache.close()
    return context.prefill(prompt) if found else 0


@pytest.fixture
def small(model: LlamaModel) -> Iterator[LlamaContext]:
    with LlamaContext(model, N_CTX) as made:
        yield made


def test_what_follows_is_as_without_a_file(
    model: LlamaModel, small: LlamaContext, tmp_path: Path
) -> None:
    prompt = numbered(300)
    kept = keep(small, tmp_path, prompt)
    longer = [*prompt[:280], *numbered(40, seed=2)]
    with LlamaContext(model, N_CTX) as alone:
        alone.prefill(prompt)
        alone.prefill(longer)
        expected = alone.logits().copy()
    assert restored(small, tmp_path, longer) == 280
    np.testing.assert_array_equal(small.logits(), expected)
    assert small.ids == longer
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.parent.parent.stat().st_mode) == 0o700


def test_a_file_must_save_more_than_the_slot_has(small: LlamaContext, tmp_path: Path) -> None:
    prompt = numbered(300)
    keep(small, tmp_path, prompt)
    assert restored(small, tmp_path, [*prompt, 5], have=290) == 0
    assert restored(small, tmp_path, numbered(300, seed=9)) == 0
    assert restored(small, tmp_path, [*prompt, 5], have=100) == 300


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": flip,
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 100),
    "cut to nothing": lambda path: os.truncate(path, 0),
    "not a state": lambda path: path.write_bytes(os.urandom(5000)),
    "a note of another model": lambda path: change_note(path, model="0" * 64),
    "a note of another cache": lambda path: change_note(path, kv_type="Q8_0"),
    "fewer tokens": lambda path: change_note(path, tokens=200),
    "tokens beyond the file": lambda path: change_note(path, tokens=1 << 40),
    "tokens that are none": lambda path: change_note(path, tokens=[]),
    "wrong checkpoints": lambda path: change_note(path, checkpoints=[[5, 1 << 60]]),
    "another prompt's name": lambda path: path.rename(path.with_name("0" * 32 + ".kv")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_damaged_is_deleted(
    small: LlamaContext, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    prompt = numbered(300)
    damage(keep(small, tmp_path, prompt))
    assert restored(small, tmp_path, [*prompt, 5]) == 0
    assert files(tmp_path) == []
    assert small.prefill([*prompt, 5]) <= 301  # it still evaluates


def test_another_cache_and_another_model_never_match(
    model: LlamaModel, small: LlamaContext, tmp_path: Path
) -> None:
    prompt = numbered(300)
    kept = keep(small, tmp_path, prompt)
    other_type = LoadConfig(N_CTX, kv_type=GgmlType.Q8_0)
    with LlamaContext(model, other_type) as other:
        assert restored(other, tmp_path, [*prompt, 5]) == 0
        foreign = keep(other, tmp_path, prompt)
        shutil.copy(kept, foreign)  # as if somebody had moved it there
        assert restored(other, tmp_path, [*prompt, 5]) == 0
        assert not foreign.exists()
    assert kept.exists()


def test_the_budget_is_kept_and_the_oldest_goes(small: LlamaContext, tmp_path: Path) -> None:
    made = [keep(small, tmp_path, numbered(300, seed)) for seed in range(3)]
    for age, path in enumerate(made):
        os.utime(path, (1000 + age, 1000 + age))
    assert restored(small, tmp_path, [*numbered(300, 0), 5]) == 300  # used: it is the youngest now
    each = made[0].stat().st_size
    small.clear()
    small.prefill(numbered(300, 7))
    cache = open_cache(small, tmp_path, budget=round(2.5 * each))
    cache.keep_cold(small)
    cache.close()
    assert made[0] in files(tmp_path)
    assert len(files(tmp_path)) == 2
    tight = open_cache(small, tmp_path, budget=each // 2)
    small.prefill(numbered(300, 8))
    tight.keep_cold(small)
    tight.close()
    assert len(files(tmp_path)) == 2, "what is larger than the budget is not written"


def test_a_longer_prompt_replaces_what_it_begins_with(small: LlamaContext, tmp_path: Path) -> None:
    first = keep(small, tmp_path, numbered(300))
    small.prefill([*numbered(300), *numbered(200, seed=2)])
    cache = open_cache(small, tmp_path)
    cache.keep_cold(small)
    cache.close()
    (left,) = files(tmp_path)
    assert left != first


def test_a_little_more_is_not_written_while_others_wait(
    small: LlamaContext, tmp_path: Path
) -> None:
    keep(small, tmp_path, numbered(300))
    small.prefill([*numbered(300), *numbered(40, seed=2)])
    cache = open_cache(small, tmp_path)
    cache.keep_cold(small)
    assert len(files(tmp_path)) == 1
    cache.keep_last(small)
    cache.close()
    assert len(files(tmp_path)) == 1
    assert restored(small, tmp_path, [*numbered(300), *numbered(40, seed=2), 5]) == 340


def test_short_prompts_are_not_worth_a_file(small: LlamaContext, tmp_path: Path) -> None:
    cache = open_cache(small, tmp_path, min_saved_s=3600)
    small.prefill(numbered(300))
    cache.keep_cold(small)
    cache.keep_evicted(small, 0)
    cache.keep_last(small)
    cache.close()
    assert files(tmp_path) == []


def test_slots_that_share_a_prefix(model: LlamaModel, tmp_path: Path) -> None:
    """Each slot's conversation comes back whole, and a new one finds the shared beginning."""
    shared = numbered(300)
    ends = [numbered(60, seed) for seed in range(10, 14)]
    config = LoadConfig(N_CTX, n_seq=4, n_outputs=4)
    with LlamaContext(model, config) as host, SlotPool(host) as pool:
        cache = open_cache(pool.slots[0], tmp_path)
        threads = [
            threading.Thread(
                target=generate, args=(slot, [*shared, *end]), kwargs={"max_tokens": 9}
            )
            for slot, end in zip(pool.slots, ends, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        held = [list(slot.ids) for slot in pool.slots]
        for slot in pool.slots:
            cache.keep_last(slot)
        cache.close()
    assert len(files(tmp_path)) == 4
    with LlamaContext(model, config) as host, SlotPool(host) as pool:
        for slot, ids in zip(pool.slots, held, strict=True):
            assert restored(slot, tmp_path, [*ids, 5]) == len(ids)
            slot.mark_idle()
        fifth = pool.slots[0]
        assert restored(fifth, tmp_path, [*shared, *numbered(50, seed=99)]) == 300


def test_a_kill_while_writing_leaves_what_is_found_and_nothing_that_is_read(
    small: LlamaContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    root = tmp_path / "cache" / "prompts"
    prompt = numbered(300)
    small.prefill(prompt)
    store = PrefixStore(root, state_identity(small), BUDGET, can_cut=True)
    assert store.has_room(1)
    path, beside = store.places(prompt)
    unsealed = write_state(small, store.identity, path, beside)
    (leftover,) = find_leftovers()
    assert leftover.path == beside
    assert is_in_use(leftover), "it is being written"
    os.close(unsealed._fd)  # as the end of the process does
    assert not is_in_use(leftover)
    assert restored(small, root, [*prompt, 5]) == 0


def test_a_memory_that_cannot_be_cut_is_taken_up_at_a_checkpoint(tmp_path: Path) -> None:
    exact = LoadConfig(4096, kv_type=GgmlType.F32, flash_attn=False)
    drawn = random.Random(1)
    prompt = [drawn.randrange(N_VOCAB) for _ in range(700)]
    with (
        LlamaModel(write_tiny_v4(tmp_path / "v4.gguf")) as v4,
        LlamaContext(v4, exact) as context,
        LlamaContext(v4, exact) as fresh,
    ):
        root = tmp_path / "prompts"
        keep(context, root, prompt)
        lengths = context.memory.checkpoint_lengths
        continued = [*prompt[:698], *prompt[:40]]
        assert restored(context, root, continued) in lengths
        fresh.prefill(continued)
        assert np.abs(context.logits() - fresh.logits()).max() <= 1e-4
        assert restored(context, root, prompt[:3]) == 0, "there is no checkpoint so early"
