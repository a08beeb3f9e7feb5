"""Proves that a config.json which makes no sense is refused by the name of its key, whatever it
claims to be.

Types, ranges, what does not go together; a family that is not known meets the list of those that
are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.config_keys import INTEGERS, OPTIONAL
from support.checkpoints.damage import (
    Case,
    config,
    content,
    each,
    in_json,
    put,
    refusal,
)

from dslocal.convert.architectures import ARCHITECTURES

CONFIG = "config.json"
Config = partial(Case, file=CONFIG)
NO_INTEGERS: tuple[Any, ...] = (
    -1,
    1 << 40,
    1 << 63,
    10**400,
    1.0,
    2.5,
    "32",
    True,
    False,
    [],
    {},
    [32],
)
NO_NUMBERS: tuple[Any, ...] = (
    "1.0",
    True,
    [],
    {},
    10**400,
    -(10**400),
    1e39,
    -1e39,
    float("inf"),
    float("nan"),
)


def rows() -> Iterator[Case]:
    yield from _files()
    yield from _families()
    yield from _integers()
    yield from _other_types()
    yield from _together()
    yield from _rope()


def _files() -> Iterator[Case]:
    texts = {
        "empty": b"",
        "not JSON": b"{'a': 1}",
        "cut": b'{"a":',
        "not UTF-8": b'{"a": "\xff"}',
        "deep": b'{"a":' * 100_000,
        "NUL": b"\0",
    }
    for name, text in texts.items():
        yield Config(name, content(CONFIG, text), "is not valid JSON")
    yield Config(
        "5,000 digits",
        content(CONFIG, b'{"vocab_size": ' + b"9" * 5000 + b"}"),
        "is not valid JSON",
    )
    yield Config("half a surrogate pair", config(x="\ud800"), "is not valid JSON")
    for name, text in {
        "a list": b"[]",
        "null": b"null",
        "a string": b'"x"',
        "a number": b"1",
    }.items():
        yield Config(name, content(CONFIG, text), "is not a JSON object")
    refusal = b'{"error": "Access to model X is restricted"}'
    yield Config("a server's message", content(CONFIG, refusal), "Access to model X")
    yield Config("an empty object", content(CONFIG, b"{}"), "architectures is missing")


def _families() -> Iterator[Case]:
    for value in each(
        ...,
        None,
        [],
        "DeepseekV3ForCausalLM",
        [1],
        [None],
        ["DeepseekV3ForCausalLM"] * 2,
        {},
        [["DeepseekV3ForCausalLM"]],
    ):
        yield Config(f"architectures {value!r}", config(architectures=value), "architectures is")
    for name in (
        "GPT2LMHeadModel",
        "",
        "\x1b[2J",
        "x" * 10_000,
        "deepseekv3forcausallm",
    ):
        yield Config(
            f"family {name!r:.30}",
            config(architectures=[name]),
            "is not an architecture that dslocal converts",
        )


def _integers() -> Iterator[Case]:
    for base, keys in INTEGERS.items():
        for key in keys:
            for value in each(0, -1, 1 << 40, 1.0, "32", True):
                yield Config(
                    f"{base} {key} {value!r:.20}", config(**{key: value}), f"{key} is ", base=base
                )
    for key in ("n_shared_experts", *OPTIONAL):
        for value in NO_INTEGERS:
            yield Config(f"v3 {key} {value!r:.20}", config(**{key: value}), f"{key} is ")
    for key in (
        "num_hidden_layers",
        "n_routed_experts",
        "vocab_size",
        "max_position_embeddings",
        "kv_lora_rank",
    ):
        for value in each(..., None):
            yield Config(f"no {key} {value!r}", config(**{key: value}), f"{key} is missing")


def _other_types() -> Iterator[Case]:
    for base, key in [
        ("v3", "rms_norm_eps"),
        ("v3", "routed_scaling_factor"),
        ("v3", "rope_theta"),
        ("llama", "rms_norm_eps"),
    ]:
        for number in NO_NUMBERS:
            yield Config(
                f"{base} {key} {number!r:.20}", config(**{key: number}), f"{key} is ", base=base
            )
    for theta in (0, -1, -1e-9):
        yield Config(
            f"rope_theta {theta}", config(rope_theta=theta), "more than 0 is needed", base="llama3"
        )
    for key in ("norm_topk_prob", "tie_word_embeddings"):
        for flag in each(1, 0, "true", [], {}):
            yield Config(f"{key} {flag!r}", config(**{key: flag}), f"{key} is ")
    for key, wrong in [
        ("scoring_func", "relu"),
        ("scoring_func", 1),
        ("topk_method", 1),
        ("topk_method", ["noaux_tc"]),
    ]:
        yield Config(f"{key} {wrong!r}", config(**{key: wrong}), f"{key} is ")
    for section in ("rope_scaling", "quantization_config"):
        for value in each(1, "x", [], True):
            yield Config(f"{section} {value!r}", config(**{section: value}), f"{section} is ")
    for blocks in (
        [128],
        [128, 128, 128],
        [0, 128],
        [-1, 128],
        [1 << 40, 128],
        [True, True],
        ["128", 128],
        [128.0, 128],
        128,
        "x",
        None,
    ):
        damage = config(quantization_config={"weight_block_size": blocks})
        yield Config(f"weight_block_size {blocks!r}", damage, "weight_block_size is")
    for key in ("temperature", "top_p"):
        for value in NO_NUMBERS:
            damage = in_json("generation_config.json", put(key, value))
            yield Case(f"{key} {value!r:.20}", damage, f"{key} is ", file="generation_config.json")


def _together() -> Iterator[Case]:
    yield Config(
        "more experts used than there are",
        config(num_experts_per_tok=5),
        "num_experts_per_tok is 5, of 4 experts",
    )
    yield Config(
        "the same of MoE-16B",
        config(num_experts_per_tok=5),
        "num_experts_per_tok is 5, of 4 experts",
        base="moe",
    )
    for groups, used in [(3, 1), (4, 1), (8, 1), (2, 2), (2, 3)]:
        yield Config(
            f"{groups} groups, {used} used",
            config(n_group=groups, topk_group=used),
            "which is not possible",
        )
    yield Config(
        "experts in every second layer", config(moe_layer_freq=2), "moe_layer_freq is not 1"
    )
    yield Config("two MTP layers", config(num_nextn_predict_layers=2), "is more than 1")
    yield Config(
        "3 key-value heads of 2",
        config(num_key_value_heads=3),
        "num_key_value_heads is 3, of 2 heads",
        base="llama",
    )
    yield Config(
        "an odd head", config(head_dim=15), "head_dim is 15; it must be even", base="llama"
    )
    yield Config(
        "more heads than dimensions",
        config(num_attention_heads=64, num_key_value_heads=64),
        "head_dim is 0",
        base="llama",
    )
    yield Config(
        "a sliding window",
        config(use_sliding_window=True),
        "use_sliding_window is true",
        base="qwen2",
    )
    yield Config(
        "normalised routing", config(norm_topk_prob=True), "norm_topk_prob is true", base="moe"
    )
    tensor = "model.layers.0.self_attn.q_proj.weight"
    wrong = "config.json makes it"
    yield Case(
        "heads that do not divide",
        config(num_attention_heads=5, num_key_value_heads=5),
        wrong,
        "model.safetensors",
        tensor,
        "llama",
    )
    yield Case("another head_dim", config(head_dim=32), wrong, "model.safetensors", tensor, "llama")


def _rope() -> Iterator[Case]:
    for base, kind in [
        ("v3", "linear"),
        ("v3", "llama3"),
        ("v3", "dynamic"),
        ("llama", "yarn"),
        ("qwen2", "linear"),
        ("v3", "x" * 9999),
    ]:
        yield Config(
            f"{base} with rope {kind:.9}",
            config(rope_scaling={"type": kind, "factor": 2.0}),
            "rope_scaling is of type",
            base=base,
        )
    yield Config(
        "MoE-16B with yarn",
        config(rope_scaling={"type": "yarn"}),
        "DeepSeekMoE has none",
        base="moe",
    )
    Rope = partial(Case, file="config.json: rope_scaling")
    yarn = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}
    for key, value in [
        ("type", 1),
        ("factor", "40"),
        ("factor", None),
        ("factor", 1e39),
        ("beta_fast", []),
        ("mscale_all_dim", "1"),
        ("mscale", {}),
    ]:
        yield Rope(
            f"yarn's {key} {value!r}",
            config(rope_scaling={**yarn, "mscale_all_dim": 1.0, key: value}),
            f"{key} is ",
        )
    for value in each(0, -1, 2.5, 1 << 40, None, "4096"):
        damage = config(rope_scaling={**yarn, "original_max_position_embeddings": value})
        yield Rope(f"yarn from {value!r}", damage, "original_max_position_embeddings is ")
    yield Config(
        "yarn's two mscales",
        config(rope_scaling={**yarn, "mscale": 0.7, "mscale_all_dim": 1.0}),
        "has an mscale other than",
    )
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    for key, value in [
        ("factor", 0),
        ("factor", -8.0),
        ("low_freq_factor", 0),
        ("high_freq_factor", 1.0),
        ("high_freq_factor", 0.5),
    ]:
        yield Config(
            f"llama3's {key} {value}",
            config(rope_scaling={**llama3, key: value}),
            "cannot be combined",
            base="llama3",
        )


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: case.id)
def test_refused(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


def test_an_unknown_family_meets_the_known_ones(
    copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, out = copy("llama"), tmp_path / "out"
    out.mkdir()
    config(architectures=["MambaForCausalLM"])(folder)
    error = refusal(folder, out)
    assert "MambaForCausalLM" in str(error)
    for family in ARCHITECTURES:
        assert all(name in error.hint for name in family.accepts)
