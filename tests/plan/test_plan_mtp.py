"""Proves that the MTP layer is in the plan: loaded where it fits, counted to the byte, left out
first, never when it was not asked for.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.gguf.published_shapes import write_header
from support.machines.planning import assert_sound

from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import MAX_MTP_DRAFTS, MAX_NGRAM_DRAFTS, LoadConfig
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.memory.shape import can_draft
from dslocal.plan.overrides import Overrides
from dslocal.plan.search import make_plan

GIB = 1 << 30
MUCH = describe_machine(2048 * GIB)


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> GgufHeader:
    """V3 with its MTP layer."""
    return read_header(write_header(tmp_path_factory.mktemp("v3"), "v3", mtp=True))


@pytest.mark.parametrize(
    ("mtp", "loaded", "outputs"),
    [(None, True, 1 + MAX_MTP_DRAFTS), (True, True, 1 + MAX_MTP_DRAFTS), (False, False, 1)],
)
def test_it_is_loaded_as_asked(
    v3: GgufHeader, mtp: bool | None, loaded: bool, outputs: int
) -> None:
    found = make_plan(v3, MUCH, Overrides(mtp=mtp))
    assert (found.load_config.mtp, found.load_config.n_outputs) == (loaded, outputs)
    assert_sound(found, MUCH, v3)
    assert make_plan(v3, MUCH).load_config.mtp is False


def test_without_the_layer_only_looking_up_is_planned(tmp_path: Path) -> None:
    header = read_header(write_header(tmp_path, "qwen-7b"))
    found = make_plan(header, MUCH, Overrides(mtp=None))
    assert (found.load_config.mtp, found.load_config.n_outputs) == (False, 1 + MAX_NGRAM_DRAFTS)


def test_it_is_left_out_where_it_does_not_fit(v3: GgufHeader) -> None:
    """Proves that auto takes nothing from what the plan without it has, and that a forced one
    does.
    """
    without = make_plan(v3, MUCH, Overrides(n_ctx=32768))
    plain = dataclasses.replace(without.load_config, repack=False, n_outputs=1 + MAX_MTP_DRAFTS)
    need = footprint(v3, plain).all.host
    more = footprint(v3, dataclasses.replace(plain, mtp=True)).all.host - need
    assert more > 5 * GIB
    for room, loaded in ((need + more // 2, False), (need + 2 * more, True)):
        machine = dataclasses.replace(MUCH, available=round(room / 0.98) + 1)
        found = make_plan(v3, machine, Overrides(n_ctx=32768, mtp=None))
        assert (found.verdict, found.load_config.mtp) == ("cpu", loaded)
        assert (found.load_config.n_ctx, found.load_config.kv_type, found.load_config.n_ubatch) == (
            32768,
            GgmlType.F16,
            512,
        )
        assert_sound(found, machine, v3)
    forced = make_plan(
        v3,
        dataclasses.replace(MUCH, available=round((need + more // 2) / 0.98)),
        Overrides(n_ctx=32768, mtp=True),
    )
    assert forced.load_config.mtp
    assert (forced.load_config.kv_type, forced.verdict) != (GgmlType.F16, "cpu")


def test_what_it_takes_is_one_layer_more_and_its_batches(v3: GgufHeader) -> None:
    without, drafting = (
        footprint(v3, LoadConfig(32768, n_outputs=4, mtp=mtp)) for mtp in (False, True)
    )
    assert drafting.kv.total - without.kv.total == 32768 * 576 * 2
    assert drafting.weights.total - without.weights.total > 5 * GIB
    assert drafting.compute.total > without.compute.total
    assert drafting.output.total - without.output.total == 4 * (129280 + 4 * 7168 * 512)


@pytest.mark.parametrize(
    ("changed", "possible"),
    [
        ({}, True),
        ({"nextn_predict_layers": 0}, False),
        ({"nextn_predict_layers": 2}, False),
    ],
)
def test_what_llama_cpp_can_draft_with(
    v3: GgufHeader, changed: dict[str, int], possible: bool
) -> None:
    metadata = {**v3.metadata, **{f"deepseek2.{key}": value for key, value in changed.items()}}
    assert can_draft(dataclasses.replace(v3, metadata=metadata)) is possible


def test_a_legacy_file_is_not_drafted_with(tmp_path: Path) -> None:
    assert not can_draft(read_header(write_header(tmp_path, "v3", mtp=True, legacy=True)))


def test_a_header_that_promises_the_layer_and_lacks_it_is_seen(v3: GgufHeader) -> None:
    """Proves it for files that keep the number and leave the tensors out, over which llama.cpp
    would abort.
    """
    tensors = tuple(tensor for tensor in v3.tensors if not tensor.name.startswith("blk.61."))
    assert not can_draft(dataclasses.replace(v3, tensors=tensors))
