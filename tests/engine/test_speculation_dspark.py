"""Proves that DSpark, V4-Flash-0731's draft model, changes nothing of the text, takes the memory
that was planned, and is refused for another model.

Two tiny V4 are drafted for. One is random, so that nearly every draft has to be taken back. The
other counts: after a token comes the next but one, and its DSpark knows that for most tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate
from support.gguf.gguf_changes import Parts, parts_of

from dslocal.api.conversion import convert
from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler
from dslocal.engine.sizing.breakdown import memory_breakdown
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.dspark_draft import DsparkDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.header_fields import Value
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan import mtp_file
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint

# Exact sums, as in test_checkpoints.py: a batch's logits are then those of single tokens.
DRAFTING = LoadConfig(1024, kv_type=GgmlType.F32, flash_attn=False, n_outputs=6, mtp=True)
N_VOCAB, RANK = 320, 32
UNKNOWN = 7  # DSpark is wrong about every seventh token


class Files(NamedTuple):
    """A V4, and its DSpark beside it."""

    model: Path
    dspark: Path


class Loaded(NamedTuple):
    """The same, loaded."""

    model: LlamaModel
    dspark: LlamaModel


def successor(token: int) -> int:
    """The token that the counting model says next: never a special one."""
    return 10 + (token + 2) % 250


def count(parts: Parts) -> None:
    """Make a V4 say the successor: nothing is added to the embedding, which the output knows."""
    for name, tensor in parts.tensors.items():
        if name.endswith(("attn_output_b.weight", "ffn_down_exps.weight", "ffn_down_shexp.weight")):
            tensor.data = bytes(len(tensor.data))
    embeddings = parts.tensors["token_embd.weight"]
    rows = np.frombuffer(embeddings.data, np.float32).reshape(N_VOCAB, -1)
    output = np.zeros_like(rows)
    for token in range(10, 260):
        output[successor(token)] = rows[token]
    parts.tensors["output.weight"].data = output.tobytes()


def know_count(parts: Parts) -> None:
    """Make a DSpark know the successor of most tokens, by the Markov head alone."""
    codes = np.random.Generator(np.random.PCG64(1)).choice([-8.0, 8.0], (N_VOCAB, RANK))
    after = np.zeros((N_VOCAB, RANK))
    for token in range(10, 260):
        if token % UNKNOWN:
            after[successor(token)] = codes[token]
    for name, values in (("markov_w1.weight", codes), ("markov_w2.weight", after)):
        bits = values.astype(np.float32).view(np.uint32) >> 16
        parts.tensors[name].data = bits.astype(np.uint16).tobytes()
    confidence = parts.tensors["conf_proj.weight"]
    confidence.data = bytes(len(confidence.data))  # always a half


def changed(source: Path, target: Path, change: Callable[[Parts], None]) -> Path:
    parts = parts_of(source)
    change(parts)
    return parts.write(target)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("dspark")
    write_checkpoint(folder / "checkpoint", "deepseek-v4-dspark", dtype="bf16")
    convert(folder / "checkpoint", folder / "model.gguf", quant="F32", mtp="beside")
    return Files(folder / "model.gguf", folder / "model-mtp.gguf")


@pytest.fixture(scope="module")
def counting_files(files: Files) -> Files:
    return Files(
        changed(files.model, files.model.with_name("counting.gguf"), count),
        changed(files.dspark, files.model.with_name("counting-mtp.gguf"), know_count),
    )


@pytest.fixture(scope="module")
def random_model(files: Files) -> Iterator[Loaded]:
    with LlamaModel(files.model, DRAFTING) as model, LlamaModel(files.dspark, DRAFTING) as dspark:
        yield Loaded(model, dspark)


@pytest.fixture(scope="module")
def counting_model(counting_files: Files) -> Iterator[Loaded]:
    model_file, dspark_file = counting_files
    with LlamaModel(model_file, DRAFTING) as model, LlamaModel(dspark_file, DRAFTING) as dspark:
        yield Loaded(model, dspark)


@pytest.fixture(params=["random_model", "counting_model"])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    found: Loaded = request.getfixturevalue(request.param)
    return found


def drafting(loaded: Loaded, load_config: LoadConfig = DRAFTING) -> LlamaContext:
    """A context that always drafts, as many tokens as there are in a block."""
    context = LlamaContext(loaded.model, load_config)
    drafter = DsparkDrafter(context, loaded.dspark)
    Speculation(context, drafter, DraftLength([load_config.n_outputs - 1], optional=False))
    return context


def prompt(seed: int, tokens: int) -> list[int]:
    drawn = random.Random(seed)
    return [drawn.randrange(10, 260) for _ in range(tokens)]


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 1), (1.0, 1), (1.0, 2)])
def test_drafts_change_nothing(loaded: Loaded, temperature: float, seed: int) -> None:
    """Proves it at temperature 0 and for seeded draws, and that drafts were made and judged."""
    ids = prompt(1, 300)
    with LlamaContext(loaded.model, DRAFTING) as plain:
        known = generate(plain, ids, temperature=temperature, seed=seed, max_tokens=80)
    with drafting(loaded) as context:
        found = generate(context, ids, temperature=temperature, seed=seed, max_tokens=80)
        assert isinstance(context.observer, Speculation)
        assert context.observer.error is None
    assert found.ids == known.ids
    assert found.drafted >= 20


def test_it_drafts_what_the_markov_head_knows(counting_model: Loaded) -> None:
    """Proves most drafts right, and a block that the first wrong draft ends."""
    with drafting(counting_model) as context:
        found = generate(context, prompt(1, 50), max_tokens=200)
    assert found.ids[1:] == [successor(token) for token in found.ids[:-1]]
    assert found.accepted > 0.4 * found.drafted > 60


def test_a_gpu_finds_the_likeliest_tokens_itself(
    counting_model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves the same drafts where llama.cpp takes them, which the CPU can do as well."""
    with drafting(counting_model) as known, drafting(counting_model) as found:
        monkeypatch.setattr(found, "load_config", replace(DRAFTING, n_gpu_layers=99))
        one, other = (generate(each, prompt(1, 50), max_tokens=60) for each in (known, found))
        assert isinstance(found.observer, Speculation)
        assert isinstance(found.observer.drafter, DsparkDrafter)
        draft_context = found.observer.drafter._context
        assert draft_context is not None
        assert draft_context._sampler is not None
    assert other.ids == one.ids
    assert (other.drafted, other.accepted) == (one.drafted, one.accepted)


def test_drafts_that_are_likely_wrong_are_left_out(counting_model: Loaded) -> None:
    """Proves that all but the first are, even if they are as right as before."""
    with drafting(counting_model) as context, pytest.MonkeyPatch.context() as patch:
        patch.setattr("dslocal.engine.speculation.dspark_draft.MIN_CONFIDENCE", 0.6)
        found = generate(context, prompt(1, 50), max_tokens=50)
    cycles = len(found.ids) - found.accepted
    assert found.accepted > 10
    assert cycles - 2 <= found.drafted <= cycles


def test_turns_are_taken_back_and_asked_again(loaded: Loaded) -> None:
    """Proves the text of a plain context where a prompt shares less and less with the last one, as
    after /retry, /edit and another conversation, with checkpoints and drafts in between.
    """
    first = prompt(1, 200)
    second = [*first, *prompt(2, 40)]
    turns = (first, first, second, [*first, *prompt(3, 30)], first[:90], second)
    with LlamaContext(loaded.model, DRAFTING) as plain, drafting(loaded) as context:
        for turn in turns:
            known = generate(plain, turn, max_tokens=20)
            assert generate(context, turn, max_tokens=20).ids == known.ids
        assert context.memory.checkpoints


@pytest.mark.parametrize("left", [1, 2, 5, 40])
def test_the_end_of_the_context(loaded: Loaded, left: int) -> None:
    """Proves that a block does not reach over it, nor ends the answer early."""
    config = replace(DRAFTING, n_ctx=256)
    ids = prompt(3, 256 - left)
    with LlamaContext(loaded.model, config) as plain, drafting(loaded, config) as context:
        known = generate(plain, ids, max_tokens=100)
        found = generate(context, ids, max_tokens=100)
        assert isinstance(context.observer, Speculation)
        assert context.observer.error is None
    assert len(known.ids) == left + 1 or loaded.model.is_end_token(known.ids[-1])
    assert found.ids == known.ids


@pytest.mark.parametrize("where", ["prompt", "block", "keys"])
def test_an_abort_leaves_both_caches_sound(
    loaded: Loaded, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves the same text afterwards, wherever Ctrl-C came: while the prompt is read, while a
    block is evaluated, and while keys are made.
    """
    ids = prompt(1, 300)
    with LlamaContext(loaded.model, DRAFTING) as plain:
        known = generate(plain, ids, max_tokens=30).ids
    with drafting(loaded) as context:
        observer = context.observer
        assert isinstance(observer, Speculation)
        drafter = observer.drafter
        assert isinstance(drafter, DsparkDrafter)
        hook = {"prompt": "evaluated", "block": "_confident", "keys": "_catch_up"}[where]
        real = getattr(drafter, hook)
        calls = iter(range(1000))

        def abort_at_third(*args: object) -> object:
            if next(calls) == 2:
                context.abort.set()
                if where == "block":
                    raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(drafter, hook, abort_at_third)
        with pytest.raises(KeyboardInterrupt):
            generate(context, ids, max_tokens=30)
        context.abort.clear()
        monkeypatch.setattr(drafter, hook, real)
        assert generate(context, ids, max_tokens=30).ids == known
        assert observer.error is None


def test_an_answer_that_is_left_half_way_is_continued(loaded: Loaded) -> None:
    """Proves that drafts of an answer that nobody reads on leave the context."""
    ids = prompt(1, 100)
    with LlamaContext(loaded.model, DRAFTING) as plain, drafting(loaded) as context:
        known = generate(plain, ids, max_tokens=40).ids
        generation = Generation(context, ids, Sampler(0.0, 1.0, 1), max_tokens=40)
        tokens = iter(generation)
        beginning = [next(tokens) for _ in range(13)]
        tokens.close()  # type: ignore[attr-defined]
        assert beginning == known[:13]
        assert context.ids[: len(ids)] == ids
        assert len(context.ids) <= len(ids) + 13
        rest = generate(context, [*ids, *beginning], max_tokens=27).ids
    assert beginning + rest == known


CONFIGS = (
    LoadConfig(2048, n_outputs=6, mtp=True),
    LoadConfig(2048, n_outputs=6, mtp=True, flash_attn=False),
    LoadConfig(256, n_outputs=6, mtp=True, n_ubatch=64),
    LoadConfig(8192, n_outputs=4, mtp=True, kv_type=GgmlType.Q8_0),
)


def joined(files: Files) -> GgufHeader:
    return mtp_file.join_header(read_header(files.model), read_header(files.dspark), "d.gguf")


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_it_takes_the_memory_that_was_planned(files: Files, config: LoadConfig) -> None:
    planned = footprint(joined(files), config)
    with (
        LlamaModel(files.model, config) as model,
        LlamaModel(files.dspark, config) as draft_model,
        LlamaContext(model, config) as context,
    ):
        drafter = DsparkDrafter(context, draft_model)
        draft_length = DraftLength([config.n_outputs - 1], optional=False)
        speculation = Speculation(context, drafter, draft_length)
        generate(context, [100 + n % 50 for n in range(200)], max_tokens=10)
        assert speculation.error is None
        buffers = [*memory_breakdown(context.handle), *memory_breakdown(drafter.handle)]
    assert sum(buffer.context for buffer in buffers) == planned.kv.total
    assert sum(buffer.compute for buffer in buffers) == planned.compute.total
    assert sum(buffer.model for buffer in buffers) == planned.weights.total


Change = Callable[[GgufHeader], GgufHeader]


def with_values(**values: Value) -> Change:
    """Sets metadata; ``__`` stands for a dot."""
    own = {key.replace("__", "."): value for key, value in values.items()}
    return lambda header: replace(header, metadata={**header.metadata, **own})


def without(name: str) -> Change:
    return lambda header: replace(
        header, tensors=tuple(tensor for tensor in header.tensors if tensor.name != name)
    )


WRONG: dict[str, tuple[Change, str]] = {
    "other width": (with_values(dflash__embedding_length=512), "embedding_length is 512"),
    "other experts": (with_values(dflash__expert_count=8), "expert_count is 8, and the model's 6"),
    "other words": (with_values(tokenizer__ggml__tokens=["a"]), "its vocabulary is not the"),
    "deeper model": (with_values(dflash__target_layers=[40, 41, 42]), "target_layers are not"),
    "no layers": (with_values(dflash__target_layers=[]), "target_layers are not"),
    "no block": (with_values(dflash__block_size=0), "block_size is not from 1 to 16"),
    "endless block": (with_values(dflash__block_size=1 << 20), "block_size is not from 1 to 16"),
    "no stages": (with_values(dflash__block_count=0), "block_count is not from 1 to 64"),
    "endless stages": (with_values(dflash__block_count=1 << 20), "block_count is not from 1 to 64"),
    "no noise": (with_values(tokenizer__ggml__mask_token_id=320), "mask_token_id is not a token"),
    "another dflash": (without("markov_w1.weight"), "not DeepSeek-V4's DSpark"),
    "not of V4": (with_values(dflash__hyper_connection__count=0), "not DeepSeek-V4's DSpark"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_another_model_s_draft_model_is_refused(files: Files, wrong: str) -> None:
    change, message = WRONG[wrong]
    with pytest.raises(GgufError, match=message) as caught:
        mtp_file.join_header(
            read_header(files.model), change(read_header(files.dspark)), "draft.gguf"
        )
    assert str(caught.value).startswith("draft.gguf: ")


def test_dspark_does_not_draft_for_v3(nano: Path, files: Files) -> None:
    header = with_values(deepseek2__nextn_predict_layers=0)(read_header(nano))
    with pytest.raises(GgufError, match="drafts for DeepSeek-V4, not for architecture 'deepseek2'"):
        mtp_file.join_header(header, read_header(files.dspark), "draft.gguf")
