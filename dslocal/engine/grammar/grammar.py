"""A grammar over the bytes of a vocabulary: decides which tokens may come next.

llguidance does the work: Earley parsing over a lexer of derivatives, 0.03 to 0.5 ms a token with a
vocabulary of 128,000. (llama.cpp's own engine walks through every candidate, recurses without a
bound and prints to stderr.) It is given ordinary text tokens alone. Control tokens and added ones
such as ``<think>`` have no bytes there, so no grammar ever allows one, whatever it spells. The
tokens that end an answer are allowed where the grammar is complete and nowhere else. Where only one
continuation is possible, its text is tokenized as the model's own tokenizer would.

Knows nothing of files, reasoning or roles.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from dslocal.engine.model import NORMAL, TAG, TYPES_WITHOUT_TEXT, USER_DEFINED
from dslocal.errors import EngineError, UsageError

from .gbnf import gbnf_to_lark
from .number_limit import NumberLimit, begins_with_digit

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

Floats = NDArray[np.float32]

# White space between two tokens of JSON: a space, a tab, or a line's end with its indent.
JSON_WHITESPACE = r"[ \t]|\n[ \t]{0,32}"
SPACED_JSON = {"whitespace_pattern": JSON_WHITESPACE}
COMPACT_JSON = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
MAX_MULTIPLE_OF = 100_000  # states of an automaton that divides
TOKENIZED_CHARACTERS = 2000  # at a time: llama.cpp recurses over a long word
MAX_ROW_ITEMS = 20_000  # of the parser at one place; a thousand optional fields have 4,000
# What the lexer of a grammar may cost before the first token: with llguidance's own limit a hostile
# pattern takes 160 MiB and seconds, with this one a fifth.
INITIAL_LEXER_FUEL = 200_000
TOO_COMPLEX = "use fewer optional fields, smaller repetitions or a simpler pattern"
MAX_REASON = 300  # characters of llguidance's explanation

_tokenizers: WeakKeyDictionary[LlamaModel, Any] = WeakKeyDictionary()
_digits: WeakKeyDictionary[LlamaModel, NDArray[np.uint8]] = WeakKeyDictionary()


def schema_to_grammar(schema: dict[str, Any], *, compact: bool = False) -> tuple[str, list[str]]:
    """Return a grammar for a JSON Schema, for :class:`Grammar`.

    Object properties come in the schema's order. References are looked up in ``schema`` alone.

    Args:
        schema: The JSON Schema.
        compact: Whether white space is where :func:`json.dumps` writes it and nowhere else.

    Returns:
        The grammar, and a line for each part of the schema that it does not enforce.

    Raises:
        UsageError: if the schema is wrong, if nothing satisfies it, or if it is too large.
    """
    from llguidance import LLMatcher

    _refuse_large_multiples(schema)
    messages: list[str] = []
    for is_lenient in (False, True):
        overrides = {**(COMPACT_JSON if compact else SPACED_JSON), "lenient": is_lenient}
        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=overrides)
        except ValueError as e:  # what serde_json does not read: NaN, lone surrogates, 128 levels
            _refuse_half_pairs(json.dumps(schema, ensure_ascii=False))
            raise UsageError(_reason(str(e))) from None
        is_wrong, messages = LLMatcher.validate_grammar_with_warnings(
            grammar, None, limits=_limits()
        )
        if not is_wrong:
            return grammar, [_reason(warning) for warning in messages]
    raise UsageError(_reason(messages[0]))


def gbnf_to_grammar(text: str) -> str:
    """Return a grammar for ``text`` in llama.cpp's notation, for :class:`Grammar`.

    Raises:
        UsageError: that names the line.
    """
    from llguidance import LLMatcher

    _refuse_half_pairs(text)
    return validated(str(LLMatcher.grammar_from_lark(gbnf_to_lark(text))))


def validated(grammar: str) -> str:
    """Return ``grammar`` if llguidance can use it.

    Raises:
        UsageError: if it cannot.
    """
    from llguidance import LLMatcher

    is_wrong, errors = LLMatcher.validate_grammar_with_warnings(grammar, None, limits=_limits())
    if is_wrong:
        raise UsageError(_reason(errors[0]))
    return grammar


def _refuse_half_pairs(text: str) -> None:
    """Raise an error for half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        half = ascii(text[e.start]).strip("'")
        raise UsageError(f"{half} is half of a character, not text") from None


def _escaped(text: str) -> str:
    """Return a regular expression for ``text``, in the syntax of Rust's regex."""
    return re.sub(r"[\\.+*?()|\[\]{}^$#&~-]", r"\\\g<0>", text)


def regex_to_grammar(pattern: str) -> str:
    """Return a grammar for text that matches ``pattern`` as a whole, for :class:`Grammar`.

    Raises:
        UsageError: if it is not a regular expression, or too large.
    """
    from llguidance import LLMatcher

    _refuse_half_pairs(pattern)
    return validated(str(LLMatcher.grammar_from_regex(pattern)))


def choices_to_grammar(choices: Sequence[str]) -> str:
    """Return a grammar for text that is one of ``choices``, for :class:`Grammar`.

    Raises:
        UsageError: if they are too large.
    """
    return regex_to_grammar("|".join(_escaped(choice) for choice in choices))


class Grammar:
    """The state of an answer in a grammar: a constraint for :class:`.Sampler`.

    Where the grammar was made from a JSON Schema, a number ends after so many digits
    (:mod:`.number_limit`), unless the schema asks for more.

    Attributes:
        end_tokens: The tokens that end an answer; they may come once the grammar is complete.
    """

    def __init__(self, model: LlamaModel, grammar: str) -> None:
        """Start an answer.

        Args:
            model: Its vocabulary is used.
            grammar: What :func:`schema_to_grammar` or :func:`gbnf_to_grammar` returned.

        Raises:
            UsageError: if the grammar allows no text at all.
            EngineError: if no token of the vocabulary ends an answer.
        """
        from llguidance import LLMatcher

        self._matcher = LLMatcher(_tokenizer(model), grammar, log_level=0, limits=_limits())
        self._model = model
        self._numbers = NumberLimit() if _has_json(grammar) else None
        self._n_vocab = model.n_vocab
        self._bits = np.zeros((model.n_vocab + 31) // 32 * 4, np.uint8)  # one bit a token
        self._is_current = False  # whether the bits are those of the next token
        self.end_tokens = _end_tokens(model)
        self._compute_bits()
        if self._matcher.is_error() or not self._bits.any():
            reason = _reason(self._matcher.get_error())
            message = f"no text satisfies this grammar: {reason}"
            raise UsageError(message.removesuffix(": "))

    def copy(self) -> Grammar:
        """Return a grammar that continues where this one stands. It takes next to no time."""
        copied = object.__new__(Grammar)
        copied.__dict__.update(self.__dict__)
        copied._matcher = self._matcher.deep_copy()
        copied._bits = self._bits.copy()
        copied._numbers = replace(self._numbers) if self._numbers else None
        return copied

    def mask(self, logits: Floats) -> None:
        """Set the logits of tokens that may not come next to -inf.

        Args:
            logits: float32 ``[n_vocab]``, changed in place.

        Raises:
            UsageError: if the grammar turns out to be too complex to be followed.
        """
        self._update()
        allowed = np.unpackbits(self._bits, count=self._n_vocab, bitorder="little").view(np.bool_)
        logits[~allowed] = -np.inf

    def allowed(self, ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of ``ids`` may come next: bool ``[ids]``.

        Raises:
            UsageError: if the grammar turns out to be too complex to be followed.
        """
        self._update()
        found: NDArray[np.bool_] = (self._bits[ids >> 3] >> (ids & 7)) & 1 != 0
        return found

    def accept(self, token: int) -> None:
        """Continue after ``token``.

        Raises:
            EngineError: if it may not come.
            UsageError: if the grammar turns out to be too complex to be followed.
        """
        was_allowed = self._is_current and bool(self._bits[token >> 3] >> (token & 7) & 1)
        self._is_current = False
        if not self._matcher.consume_token(token):
            reason = _reason(self._matcher.get_error())
            if was_allowed:
                raise UsageError(f"the grammar is too complex: {reason}", hint=TOO_COMPLEX)
            raise EngineError(f"the grammar cannot continue: {reason}")
        if self._numbers:
            self._numbers.read(self._model.piece(token))

    @property
    def is_complete(self) -> bool:
        """Whether the answer may end here."""
        return bool(self._matcher.is_accepting())

    def _update(self) -> None:
        """Compute which tokens may come next, unless that is known."""
        if self._is_current:
            return
        self._compute_bits()
        if self._matcher.is_error():
            reason = _reason(self._matcher.get_error())
            raise UsageError(f"the grammar is too complex: {reason}", hint=TOO_COMPLEX)
        if self._numbers and self._numbers.is_reached:
            self._end_number()
        self._is_current = True

    def _end_number(self) -> None:
        """Allow no further digit, if something else may come."""
        others = self._bits & ~_digit_bits(self._model)
        if others.any():
            self._bits[:] = others

    def _compute_bits(self) -> None:
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)


def _limits() -> Any:
    """Return limits for hostile grammars, with errors that do not quote the whole grammar."""
    from llguidance import LLParserLimits

    return LLParserLimits(
        verbose_errors=False,
        max_items_in_row=MAX_ROW_ITEMS,
        initial_lexer_fuel=INITIAL_LEXER_FUEL,
    )


def _has_json(grammar: str) -> bool:
    """Return whether a part of ``grammar`` is made from a JSON Schema."""
    parts = json.loads(grammar).get("grammars", ()) if grammar.startswith("{") else ()
    return any(part.get("json_schema") is not None for part in parts)


def _digit_bits(model: LlamaModel) -> NDArray[np.uint8]:
    """Return one bit for each token, packed like :attr:`Grammar._bits`: begins with a digit."""
    if model not in _digits:
        begins = np.zeros((model.n_vocab + 31) // 32 * 32, np.bool_)
        begins[: model.n_vocab] = [
            begins_with_digit(model.piece(id)) for id in range(model.n_vocab)
        ]
        _digits[model] = np.packbits(begins, bitorder="little")
    return _digits[model]


def _tokenizer(model: LlamaModel) -> Any:
    """Return the vocabulary as llguidance wants it.

    It is made once for each model, in about a second for 128,000 tokens.

    Raises:
        EngineError: if no token ends an answer.
    """
    from llguidance import LLTokenizer, TokenizerWrapper

    if model not in _tokenizers:
        _tokenizers[model] = LLTokenizer(
            TokenizerWrapper(_Vocabulary(model)),
            n_vocab=model.n_vocab,
            eos_token=_end_tokens(model),
        )
    return _tokenizers[model]


def _end_tokens(model: LlamaModel) -> list[int]:
    """Return the tokens that end an answer, the GGUF's own first."""
    own = model.header.metadata.get("tokenizer.ggml.eos_token_id")
    found = [
        id
        for id, token_type in enumerate(_token_types(model))
        if token_type != NORMAL and model.is_end_token(id)
    ]
    if not found:
        raise EngineError(
            f"{model.path.name}: its vocabulary has no token that ends an answer, "
            "which a grammar needs"
        )
    return sorted(found, key=lambda id: id != own)


def _token_types(model: LlamaModel) -> list[int]:
    """Return the type of each token; where the GGUF does not say, all are ordinary text."""
    types = model.token_types
    return types if len(types) == model.n_vocab else [NORMAL] * model.n_vocab


class _Vocabulary:
    """What llguidance's TokenizerWrapper asks a tokenizer for; the names are its."""

    bos_token_id = None

    def __init__(self, model: LlamaModel) -> None:
        self.eos_token_id = _end_tokens(model)[0]
        self.special_token_ids: list[int] = []
        self._encode = model.encode
        spellings = model.header.tokens()
        self.tokens: list[bytes] = []
        for id, token_type in enumerate(_token_types(model)):
            is_tag = token_type == USER_DEFINED and TAG.fullmatch(spellings[id])
            has_text = token_type not in TYPES_WITHOUT_TEXT and not is_tag
            self.tokens.append(model.piece(id) if has_text else b"")

    def __call__(self, text: bytes | str) -> list[int]:
        """Return the ids of ``text``."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        ids: list[int] = []
        for start in range(0, len(text), TOKENIZED_CHARACTERS):
            ids += self._encode(text[start : start + TOKENIZED_CHARACTERS])
        return ids


def _refuse_large_multiples(node: object) -> None:
    """Raise UsageError for a large ``multipleOf`` anywhere in a schema.

    An automaton that divides has a state for each remainder, and llguidance does not limit them.
    """
    if isinstance(node, list):
        for item in node:
            _refuse_large_multiples(item)
    elif isinstance(node, dict):
        of = node.get("multipleOf")
        if isinstance(of, int | float) and _significant_digits(of) > MAX_MULTIPLE_OF:
            raise UsageError(f"multipleOf {of} is too large")
        for item in node.values():
            _refuse_large_multiples(item)


def _significant_digits(number: float) -> int:
    """Return the digits of a number as an integer, without zeros at the end; 0 for NaN."""
    if not math.isfinite(number):
        return 0
    digits = Decimal(str(number)).normalize().as_tuple().digits
    return int("".join(str(digit) for digit in digits))


def _reason(message: str) -> str:
    """Return what llguidance says on one line, without its internals."""
    message = message.split("<backtrace>", maxsplit=1)[0].replace("<non-verbose/>", "")
    lines = [line.strip() for line in message.splitlines() if line.strip(" ^\t")]
    return " ".join(lines)[:MAX_REASON]
