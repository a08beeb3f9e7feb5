"""Proves what values the sampling settings take, which token a bias is for, and that a sampler
receives all of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from dslocal.engine import LlamaModel
from dslocal.engine.sampling.sampler import make_sampler
from dslocal.errors import UsageError
from dslocal.output import resolve_logit_bias
from dslocal.output.sampler_settings import sampling_parameters
from dslocal.prompts import SETTINGS, Setting
from dslocal.prompts.families.r1 import R1

GOOD = [
    ("top_k", "40", 40),
    ("top_k", 0, 0),
    ("min_p", "0.05", 0.05),
    ("min_p", 1, 1.0),
    ("presence_penalty", -2, -2.0),
    ("frequency_penalty", "2", 2.0),
    ("repeat_penalty", 1.1, 1.1),
    ("stop", "END", ("END",)),
    ("stop", ["a", "b\n"], ("a", "b\n")),
    ("stop", '["a", "\\n"]', ("a", "\n")),
    ("stop", "[DONE]", ("[DONE]",)),
    ("stop", "[]", ()),
    ("stop", "caf\udce9", ("caf?",)),
    ("logit_bias", "</think>=5", ("</think>=5",)),
    ("logit_bias", ["a=b=-100", "7=1e1"], ("a=b=-100", "7=1e1")),
]
BAD = [
    ("top_k", -1, "-1 is out of range"),
    ("top_k", 1.5, "1.5 is not a whole number"),
    ("min_p", 1.01, "1.01 is out of range"),
    ("min_p", "nan", "nan is out of range"),
    ("presence_penalty", 2.1, "2.1 is out of range"),
    ("frequency_penalty", -2.1, "-2.1 is out of range"),
    ("repeat_penalty", 0, "0 is out of range"),
    ("repeat_penalty", "inf", "inf is out of range"),
    ("stop", "", "'' is not allowed"),
    ("stop", ["a", 1], "1 is not allowed"),
    ("stop", "[1]", "1 is not allowed"),
    ("stop", True, "True is not allowed"),
    ("stop", "a" * 1001, "is not allowed"),
    ("stop", ["a"] * 65, "65 entries are too many"),
    ("logit_bias", "a", "'a' is not allowed"),
    ("logit_bias", "=1", "'=1' is not allowed"),
    ("logit_bias", "a=hot", "'a=hot' is not allowed"),
    ("logit_bias", "a=101", "'a=101' is not allowed"),
    ("logit_bias", "a=nan", "'a=nan' is not allowed"),
    ("logit_bias", {"a": 1}, "{'a': 1} is not allowed"),
]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD, ids=lambda value: ascii(value)[:20])
def test_allowed(name: str, value: Any, expected: Any) -> None:
    assert getattr(R1.defaults.with_value(name, value, "--flag"), name) == Setting(
        expected, "--flag"
    )


@pytest.mark.parametrize(("name", "value", "said"), BAD, ids=lambda value: ascii(value)[:20])
def test_not_allowed(name: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        R1.defaults.with_value(name, value, "--flag")
    assert str(caught.value).startswith("--flag: ")
    assert said in str(caught.value)
    assert caught.value.hint


def test_what_is_off_is_not_shown() -> None:
    assert list(R1.defaults.shown()) == ["temperature", "top_p", "max_tokens"]
    set_ = R1.defaults.with_value("top_k", 0, "x").with_value("stop", "a", "x")
    assert list(set_.shown()) == ["temperature", "top_p", "max_tokens", "top_k", "stop"]
    assert set_.extras() == {"stop": ("a",)}
    assert set(SETTINGS) == set(vars(R1.defaults))


def test_which_token_a_bias_is_for(model: LlamaModel) -> None:
    digits, word = model.encode("7"), model.encode(" user")
    assert (len(digits), len(word)) == (1, 1)
    close = model.special_id("</think>")
    entries = ("5=1", '"7"=2', " user=-3", "</think>=4", "a=0.5", "5=-1")
    found = resolve_logit_bias(Setting(entries, "x"), model)
    assert found == {5: -1.0, digits[0]: 2.0, word[0]: -3.0, close: 4.0, model.encode("a")[0]: 0.5}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("4096=1", "--logit-bias: token 4096 does not exist: the vocabulary has 4,096 tokens"),
        ("9" * 5000 + "=1", "--logit-bias: token 9999"),
        ("a b c=1", "--logit-bias: 'a b c' is 3 tokens, not one"),
        ('""=1', "--logit-bias: '' is 0 tokens, not one"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bias_for_no_token(model: LlamaModel, entry: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_logit_bias(Setting((entry,), "--logit-bias"), model)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 120


SEEN: dict[str, dict[str, Any]] = {
    "top_k": {"top_k": 1},
    "min_p": {"min_p": 1.0},
    "presence": {"presence_penalty": 2.0},
    "frequency": {"frequency_penalty": 2.0},
    "repeat": {"repeat_penalty": 10.0},
    "bias": {"logit_bias": ["12=30"]},
    "temperature": {"temperature": 0.0},
    "top_p": {"top_p": 0.001},
}


@pytest.mark.parametrize("values", SEEN.values(), ids=SEEN)
def test_the_sampler_receives_all(model: LlamaModel, values: dict[str, Any]) -> None:
    """Every setting changes what is drawn from logits that hardly prefer any token, of which the
    prompt has the likeliest.
    """
    import numpy as np

    logits = np.random.default_rng(1).normal(0, 1, model.n_vocab).astype(np.float32)
    prompt = np.argsort(-logits)[:40].tolist()
    plain = R1.defaults.with_value("temperature", 0.2, "x")
    changed = plain
    for name, value in values.items():
        changed = changed.with_value(name, value, "x")
    drawn = []
    for settings in (plain, changed):
        sampler = make_sampler(sampling_parameters(settings, 1, model), prompt)
        drawn.append([sampler.sample(logits) for _ in range(50)])
    assert drawn[0] != drawn[1]
