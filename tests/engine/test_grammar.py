"""Proves that a grammar allows what it means and nothing else: GBNF against llama.cpp's own engine,
hostile input as one line.
"""

from __future__ import annotations

import ctypes
import json
import random
import re
from typing import Any

import numpy as np
import pytest

from dslocal.engine import LlamaModel, Sampler
from dslocal.engine.grammar.gbnf import MAX_DEPTH
from dslocal.engine.grammar.grammar import Grammar, gbnf_to_grammar, schema_to_grammar
from dslocal.errors import DslocalError, EngineError, UsageError
from dslocal.gguf import libraries

EOS = 1
GRAMMARS = {
    "sums": (
        'root ::= (expr "=" term "\\n")+\n'
        "expr ::= term ([-+*/] term)*\n"
        'term ::= [0-9]+ | "(" expr ")" # parentheses'
    ),
    "json": (
        "root ::= v\n"
        'v ::= "{" (p ("," p)*)? "}" | "[" (v ("," v)*)? "]" | s | [0-9]{1,3}\n'
        'p ::= s ":" v\n'
        's ::= "\\"" [a-z ]* "\\""'
    ),
    "longest match": 'root ::= [a-z]+ "ing"',
    "literals that share a beginning": 'root ::= "a" "b" | "ab" "c"',
    "ambiguous": 'root ::= ("a" | "ab")* "b"',
    "a rule before a letter": 'root ::= w "s"\nw ::= [a-z]+',
    "repeated": 'root ::= ("ab" | "a"){2,5} "c"?',
    "classes that overlap": 'root ::= ([a-m] "x" | [g-z] "y" | "h" "z")+',
    "escapes": 'root ::= "\\x41\\u0042\\U00000043\\n\\"" [\\]\\-a-c^]{1,4} "\\\\"',
    "not in a class": "root ::= [^a-zA-Z]{1,6} | [^ -~\\n]",
    "empty": 'root ::= "" | "a" ""',
    "later rules count": 'root ::= a\na ::= "x"\na ::= "y" | \n  "z"',
}


def theirs(model: LlamaModel, grammar: str, tokens: list[int]) -> set[int] | None:
    """The tokens that llama.cpp's own engine allows after ``tokens``."""
    low = libraries.require()
    vocabulary = low.llama_model_get_vocab(model.handle)
    engine = low.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
    assert engine
    for token in tokens:
        low.llama_sampler_accept(engine, token)
    candidates = (low.llama_token_data * model.n_vocab)(
        *((id, 0.0, 0.0) for id in range(model.n_vocab))
    )
    array = low.llama_token_data_array(
        data=candidates, size=model.n_vocab, selected=-1, sorted=False
    )
    low.llama_sampler_apply(engine, ctypes.byref(array))
    low.llama_sampler_free(engine)
    return {candidate.id for candidate in candidates if candidate.logit == 0}


def ours(model: LlamaModel, grammar: Grammar) -> set[int]:
    logits = np.zeros(model.n_vocab, np.float32)
    grammar.mask(logits)
    allowed = set(np.flatnonzero(logits == 0).tolist())
    asked = np.arange(model.n_vocab)
    assert set(asked[grammar.allowed(asked)].tolist()) == allowed
    return allowed


def whole(model: LlamaModel, tokens: set[int]) -> set[int]:
    """Those that are ASCII: llama.cpp lets invalid UTF-8 pass, not every valid one, and no NUL."""
    return {
        token
        for token in tokens
        if token == EOS or re.fullmatch(rb"[\x01-\x7f]+", model.piece(token))
    }


@pytest.mark.parametrize("name", GRAMMARS)
def test_gbnf_means_what_it_means_to_llama_cpp(model: LlamaModel, name: str) -> None:
    """Nothing is allowed that llama.cpp forbids, and all that it allows, but where one text alone
    can come: that is tokenized one way.
    """
    compiled = gbnf_to_grammar(GRAMMARS[name])
    for seed in range(2):
        dice, grammar = random.Random(seed), Grammar(model, compiled)
        tokens: list[int] = []
        for _ in range(12):
            mine = whole(model, ours(model, grammar))
            other = whole(model, theirs(model, GRAMMARS[name], tokens) or set())
            assert mine <= other
            assert mine
            assert mine == other or all(
                any(
                    model.piece(b).startswith(model.piece(a))
                    or model.piece(a).startswith(model.piece(b))
                    for b in mine
                )
                for a in other - mine
            )
            assert grammar.is_complete is (EOS in mine)
            token = dice.choice(sorted(mine))
            if token == EOS:
                break
            grammar.accept(token)
            tokens.append(token)


WRONG = {
    "": "no rule 'root'",
    "x ::= [a]": "no rule 'root'",
    "root := [a]": "line 1: ::= expected",
    'root ::= "a': "line 1: the file ends in the middle",
    "root ::= [a": "line 1: the file ends in the middle",
    "root ::= x\ny ::= [b]": "line 1: no rule 'x'",
    "root ::= (": r"line 1: '\)' expected",
    "root ::= [a] )": "line 1: the end of the line expected",
    "root ::= [z-a]": "a range that ends before it begins",
    "root ::= []": "an empty class",
    "root ::= [a]{3,2}": r"repeated \{3,2\} times",
    "root ::= [a]{99999}": r"repeated \{99999\} times",
    "root ::= [a]{x}": "expected",
    'root ::= "\\q"': "unknown escape",
    'root ::= "\\ud800"': "no character has the code D800",
    'root ::= "\\UFFFFFFFF"': "no character has the code FFFFFFFF",
    "root ::= <think>": "tokens cannot be named",
    "root ::= !<[1]>": "tokens cannot be named",
    "root ::= " + "(" * (MAX_DEPTH + 1): "parentheses within each other",
    'root ::= "a" | ' + " | ".join(f'"v{i}"' for i in range(20000)): "more than 10,000 characters",
    "\0": "the name of a rule expected",
    "\n\nroot ::= ,": "line 3",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text)[:30])
def test_a_wrong_grammar_is_named_by_its_line(text: str) -> None:
    with pytest.raises(UsageError, match=WRONG[text]) as caught:
        gbnf_to_grammar(text)
    assert "\n" not in str(caught.value)


ENDLESS = [
    'root ::= root "a"',
    "root ::= [^\\x00-\\U0010FFFF]",
    'root ::= ("a"{5000}){5000}',
    'root ::= "a" root',
]


@pytest.mark.parametrize("text", ENDLESS, ids=lambda text: text[:30])
def test_a_grammar_that_is_too_much_is_an_error(model: LlamaModel, text: str) -> None:
    """Found as it is read, before the first token, or as the answer continues; never a crash, never
    long.
    """

    def follow() -> None:
        grammar = Grammar(model, gbnf_to_grammar(text))
        for _ in range(3):
            grammar.accept(min(ours(model, grammar) - {EOS}))

    with pytest.raises((UsageError, EngineError)) as caught:
        follow()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


SPELT = ["<｜end▁of▁sentence｜>", "</think>", "<think>", "<｜User｜>"]


@pytest.mark.parametrize("text", SPELT)
@pytest.mark.parametrize("kind", ["schema", "gbnf"])
def test_what_a_grammar_spells_is_text(model: LlamaModel, text: str, kind: str) -> None:
    """Text that spells a special token is written with ordinary ones, and the end is allowed only
    behind it.
    """
    grammar = Grammar(
        model,
        schema_to_grammar({"const": text})[0]
        if kind == "schema"
        else gbnf_to_grammar(f'root ::= "{text}"'),
    )
    written, tokens = b"", 0
    while not grammar.is_complete:
        allowed = ours(model, grammar)
        assert not allowed & (
            {EOS} | {id for spelt in SPELT if (id := model.special_id(spelt)) is not None}
        )
        token = max(allowed, key=lambda id: len(model.piece(id)))
        written, tokens = written + model.piece(token), tokens + 1
        grammar.accept(token)
    assert written.decode() == (json.dumps(text, ensure_ascii=False) if kind == "schema" else text)
    assert tokens > 1
    assert ours(model, grammar) == {EOS}


def test_the_sampler_draws_what_is_allowed(model: LlamaModel) -> None:
    """At any temperature, whatever the logits prefer; and a token that may not come is refused."""
    compiled, _ = schema_to_grammar({"type": "integer", "minimum": 10, "maximum": 99})
    dice = np.random.default_rng(1)
    for seed in range(20):
        sampler, said = Sampler(2.0 * (seed % 2), 0.95, seed), b""
        sampler.constraint = grammar = Grammar(model, compiled)
        while (token := sampler.sample(dice.normal(0, 5, model.n_vocab).astype(np.float32))) != EOS:
            said += model.piece(token)
        assert 10 <= int(said) <= 99
        assert grammar.is_complete
    with pytest.raises(EngineError, match="the grammar cannot continue"):
        Grammar(model, compiled).accept(EOS)


def test_white_space_is_bounded(model: LlamaModel) -> None:
    grammar, blank = Grammar(model, schema_to_grammar({"type": "object"})[0]), 0
    grammar.accept(model.encode("{")[0])
    while allowed := [id for id in ours(model, grammar) if model.piece(id).isspace()]:
        token = max(allowed, key=lambda id: len(model.piece(id)))
        blank += len(model.piece(token))
        grammar.accept(token)
    assert blank <= 33


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"type": "integer", "minimum": 5, "maximum": 4}, "minimum .5. is greater"),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "Unsatisfiable"),
    ({"type": "foo"}, "foo"),
    ({"type": "string", "pattern": "(a"}, "unclosed group"),
    ({"$ref": "https://example.com/x.json"}, "does not fetch"),
    ({"$ref": "#/$defs/no"}, "no"),
    ({"type": "integer", "multipleOf": 99999999}, "too large"),
    ({"type": "number", "minimum": float("nan")}, "expected value"),
    ({"const": "\ud800"}, "half of a character"),
    ({"type": "array", "minItems": -1}, "minItems"),
    ({"properties": {"a": None}}, "object or boolean"),
]


def longest_run_of_digits(model: LlamaModel, grammar: Grammar, least: int) -> str:
    """What a model writes that always prefers a digit, until ``least`` digits or the end."""
    text = b""
    while len(text) < least and (allowed := ours(model, grammar)):
        digits = [id for id in allowed if re.fullmatch(rb"[0-9]", model.piece(id))]
        others = [id for id in allowed if re.fullmatch(rb'[."]', model.piece(id))]
        if not (found := digits or others):
            break
        token = max(found)
        grammar.accept(token)
        text += model.piece(token)
    return text.decode()


@pytest.mark.parametrize(
    ("schema", "runs"),
    [
        ({"type": "integer"}, r"-?[0-9]{40}"),
        ({"type": "number"}, r"-?[0-9]{40}\.[0-9]{40}"),
        ({"type": "number", "minimum": 3.39, "maximum": 1000.5}, r"9{3}\.[0-9]{40}"),
        ({"const": 7 * 10**60}, r"70{60}"),
        ({"type": "string"}, r'"[0-9]{299}'),
        ({"type": "string", "pattern": "^[0-9]{100}$"}, r'"[0-9]{100}"'),
    ],
    ids=str,
)
def test_a_number_does_not_go_on_for_ever(
    model: LlamaModel, schema: dict[str, Any], runs: str
) -> None:
    """Texts and numbers that the schema makes longer are left as they are."""
    grammar = Grammar(model, schema_to_grammar(schema)[0])
    copied = grammar.copy()
    for each in (grammar, copied):
        assert re.fullmatch(runs, longest_run_of_digits(model, each, 300))


def test_digits_of_a_grammar_that_is_no_schema_are_not_counted(model: LlamaModel) -> None:
    grammar = Grammar(model, gbnf_to_grammar("root ::= [0-9]+"))
    assert len(longest_run_of_digits(model, grammar, 100)) == 100


@pytest.mark.parametrize(
    ("schema", "why"),
    REFUSED,
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_a_schema_that_cannot_be_meant(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(DslocalError, match=why) as caught:
        schema_to_grammar(schema)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_what_a_grammar_cannot_hold_is_said() -> None:
    assert schema_to_grammar({"type": "string", "maxLength": 3})[1] == []
    assert "uniqueItems" in schema_to_grammar({"type": "array", "uniqueItems": True})[1][0]
    assert (
        "oneOf"
        in schema_to_grammar(
            {"oneOf": [{"type": "object"}, {"type": "object", "maxProperties": 1}]}
        )[1][0]
    )
