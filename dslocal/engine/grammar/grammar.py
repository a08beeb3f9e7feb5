"""A grammar over the bytes of a vocabulary: which tokens may come next. Knows nothing of schemas as
files, thoughts or roles.

llguidance does the work (Earley over a lexer of derivatives, 0.03 to 0.5 ms a token with 128,000
tokens; llama.cpp's own engine walks every candidate, recurses without a bound and prints to
stderr). It is given ordinary text tokens alone: control tokens and added ones such as ``<think>``
have no bytes there, so that no grammar, whatever it spells, ever allows one. The tokens that end an
answer are allowed where the grammar is complete and nowhere else. Text that only one continuation
is possible for is tokenized as the model's own tokenizer would.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import EngineError, UsageError

from .gbnf import gbnf_to_lark

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

Floats = NDArray[np.float32]

# white space between two tokens of JSON: a space, or a line's end with its indent
BLANKS = r"[ \t]|\n[ \t]{0,32}"
NO_TEXT = (2, 3, 5)  # token types unknown, control and unused
ADDED = 4  # user-defined
MOST_STATES = 100_000
SLICE = 2000  # characters that are tokenized at a time

_tokenizers: WeakKeyDictionary[LlamaModel, Any] = WeakKeyDictionary()


def schema_to_grammar(schema: dict[str, Any]) -> tuple[str, list[str]]:
    """A grammar for the JSON Schema ``schema``, for :class:`Grammar`, and what of the schema it
    does not hold the answer to.

    Object properties come in the schema's order. References are looked up in ``schema`` alone.
    Raises UsageError for a schema that is wrong, that nothing satisfies, or that is too large.
    """
    from llguidance import LLMatcher

    _refuse_large_multiples(schema)
    for options in ({}, {"lenient": True}):
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.dumps(schema), overrides={"whitespace_pattern": BLANKS, **options}
            )
        except ValueError as e:  # what serde_json does not read: NaN, lone surrogates, 128 levels
            raise UsageError(_reason(str(e))) from None
        wrong, said = LLMatcher.validate_grammar_with_warnings(grammar, None, limits=_limits())
        if not wrong:
            return grammar, [_reason(line) for line in said]
    raise UsageError(_reason(said[0]))


def gbnf_to_grammar(text: str) -> str:
    """A grammar for llama.cpp's notation, for :class:`Grammar`. Raises UsageError that names the
    line.
    """
    from llguidance import LLMatcher

    grammar = str(LLMatcher.grammar_from_lark(gbnf_to_lark(text)))
    wrong, said = LLMatcher.validate_grammar_with_warnings(grammar, None, limits=_limits())
    if wrong:
        raise UsageError(_reason(said[0]))
    return grammar


class Grammar:
    """Where an answer stands in a grammar: a constraint for :class:`.Sampler`. ``ends`` may come
    once it is complete.
    """

    def __init__(self, model: LlamaModel, grammar: str) -> None:
        """``grammar`` as :func:`schema_to_grammar` and :func:`gbnf_to_grammar` give it. Raises UsageError when it
        allows no text at all.
        """
        from llguidance import LLMatcher

        self._matcher = LLMatcher(_tokenizer(model), grammar, log_level=0, limits=_limits())
        self._n_vocab = model.n_vocab
        self._bits = np.zeros((model.n_vocab + 31) // 32 * 4, np.uint8)
        self._known = False
        self.end_tokens = _ends(model)
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if self._matcher.is_error() or not self._bits.any():
            raise UsageError(
                f"nothing can be written in this grammar: {_reason(self._matcher.get_error())}".removesuffix(
                    ": "
                )
            )

    def mask(self, logits: Floats) -> None:
        """Sets the logits of tokens that may not come next to -inf, in place: float32
        ``[n_vocab]``. Raises EngineError.
        """
        logits[~self._allowed()] = -np.inf

    def allowed(self, ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of ``ids`` may come next. Raises EngineError."""
        self._compute()
        found: NDArray[np.bool_] = (self._bits[ids >> 3] >> (ids & 7)) & 1 != 0
        return found

    def accept(self, token: int) -> None:
        """Goes on past ``token``. Raises EngineError when it may not come."""
        self._known = False
        if not self._matcher.consume_token(token):
            raise EngineError(f"the grammar does not go on: {_reason(self._matcher.get_error())}")

    @property
    def is_complete(self) -> bool:
        """Whether what came so far is whole."""
        return bool(self._matcher.is_accepting())

    def _allowed(self) -> NDArray[np.bool_]:
        self._compute()
        return np.unpackbits(self._bits, count=self._n_vocab, bitorder="little").view(np.bool_)

    def _compute(self) -> None:
        if self._known:
            return
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if self._matcher.is_error():
            raise EngineError(
                f"the grammar cannot be followed: {_reason(self._matcher.get_error())}"
            )
        self._known = True


def _limits() -> Any:
    """llguidance's own bounds on size and work, with errors that do not quote the whole grammar."""
    from llguidance import LLParserLimits

    return LLParserLimits(verbose_errors=False)


def _tokenizer(model: LlamaModel) -> Any:
    """The vocabulary as llguidance wants it: made once a model, in about a second for 128,000
    tokens. Raises EngineError.
    """
    from llguidance import LLTokenizer, TokenizerWrapper

    if model not in _tokenizers:
        _tokenizers[model] = LLTokenizer(
            TokenizerWrapper(_Vocabulary(model)), n_vocab=model.n_vocab, eos_token=_ends(model)
        )
    return _tokenizers[model]


def _ends(model: LlamaModel) -> list[int]:
    """The tokens that end an answer, the GGUF's own first."""
    own = model.header.metadata.get("tokenizer.ggml.eos_token_id")
    found = [id for id, kind in enumerate(_kinds(model)) if kind != 1 and model.is_end_token(id)]
    if not found:
        raise EngineError(
            f"{model.path.name}: its vocabulary has no token that ends an answer, which a grammar needs"
        )
    return sorted(found, key=lambda id: id != own)


def _kinds(model: LlamaModel) -> list[int]:
    kinds: Any = model.header.metadata.get("tokenizer.ggml.token_type")
    return kinds if isinstance(kinds, list) and len(kinds) == model.n_vocab else [1] * model.n_vocab


class _Vocabulary:
    """What llguidance asks a tokenizer for."""

    def __init__(self, model: LlamaModel) -> None:
        self.eos_token_id, self.bos_token_id, self.special_token_ids = (
            _ends(model)[0],
            None,
            list[int](),
        )
        self._encode = model.encode
        spellings = model.header.tokens()
        self.tokens = [
            b""
            if kind in NO_TEXT or (kind == ADDED and re.fullmatch(r"<\S+>", spellings[id]))
            else model.piece(id)
            for id, kind in enumerate(_kinds(model))
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        slices = (
            text[start : start + SLICE] for start in range(0, len(text), SLICE)
        )  # llama.cpp recurses over a long word
        return [id for part in slices for id in self._encode(part)]


def _refuse_large_multiples(node: object) -> None:
    """Raises UsageError: an automaton that divides has a state for every remainder, and llguidance
    does not bound that.
    """
    if isinstance(node, list):
        for item in node:
            _refuse_large_multiples(item)
    elif isinstance(node, dict):
        of = node.get("multipleOf")
        if isinstance(of, int | float) and math.isfinite(of) and _significant(of) > MOST_STATES:
            raise UsageError(f"multipleOf {of} is too large")
        for item in node.values():
            _refuse_large_multiples(item)


def _significant(number: float) -> int:
    """Its digits as a whole number, zeros at the end left out."""
    return int("".join(map(str, Decimal(str(number)).normalize().as_tuple().digits)))


def _reason(said: str) -> str:
    """What llguidance says, on one line, without its own innards."""
    said = said.split("<backtrace>", maxsplit=1)[0].replace("<non-verbose/>", "")
    lines = [line.strip() for line in said.splitlines() if line.strip(" ^\t")]
    return " ".join(lines)[:300]
