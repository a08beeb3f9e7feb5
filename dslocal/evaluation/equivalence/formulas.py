r"""Read one formula, in LaTeX or typed, as an exact value.

Understood are numbers (decimals, 1.2e3, 0.\overline{3}), + - × ÷ /, powers, roots, fractions, mixed
numbers (1\frac{1}{2}, 1 1/2), percent (50% is 0.5), factorials, binomials, |x|, π, e, i, ∞,
variables with subscripts, and functions by name. ``\log`` without a base has base 10. A run of more
than three letters is a word and not a product. Nothing but arithmetic is evaluated.
"""

from __future__ import annotations

import re
from fractions import Fraction

from .arithmetic import Arithmetic
from .exact_values import ExactValue, TooHard, number, symbol
from .formula_tokens import MAX_DIGITS, NotAFormula, Token, literal_value, split_tokens

MAX_DEPTH = 40
MAX_LETTERS = 3  # of a product of variables written without signs

# two plain numbers behind \frac: {1}{2}, 12, {1}2, 1{2}
_PLAIN_FRACTION = re.compile(
    r"\{(\d+)\}\{(\d+)\}|(\d)(\d)(?!\d)|\{(\d+)\}(\d)|(\d)\{(\d+)\}", re.ASCII
)
_FUNCTION_NAMES = (
    "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan ln log lg exp sqrt gcd lcm min max"
)
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_OPERANDS = _FUNCTIONS | {"frac", "sqrt", "binom"}  # commands that stand for a value
_TIMES = frozenset({"*", "\\times", "\\cdot", "\\ast"})
_OVER = frozenset({"/", "\\div"})
_CONSTANTS = {
    "\\pi": "π",
    "π": "π",
    "\\infty": "∞",
    "∞": "∞",
    "\\ell": "l",
    "\\varphi": "\\phi",
    "\\varepsilon": "\\epsilon",
}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi "
    "rho sigma tau upsilon phi chi psi omega"
)
_GREEK = frozenset(
    f"\\{name}" for lower in _GREEK_NAMES.split() for name in (lower, lower.capitalize())
)
_CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}


def value_of(text: str, arithmetic: Arithmetic) -> ExactValue:
    """Return the value that ``text`` spells.

    Raises:
        NotAFormula: If it is not a formula.
        TooHard: If it takes too much work.
    """
    reader = _FormulaReader(text, arithmetic)
    value = reader.sum()
    if reader.next.kind != "end":
        raise NotAFormula
    return value


class _FormulaReader:
    """A recursive descent: sums of products of signed powers of operands."""

    def __init__(self, text: str, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic
        self._tokens = split_tokens(text)
        self._at = 0
        self._depth = 0
        self._open_bars = 0

    @property
    def next(self) -> Token:
        """Return the token that comes next."""
        return self._tokens[self._at]

    def sum(self) -> ExactValue:
        """Read terms with + and - between them."""
        total = self._product()
        while self.next.text in ("+", "-"):
            is_minus = self._take() == "-"
            term = self._product()
            total = self._arithmetic.add(total, self._arithmetic.negate(term) if is_minus else term)
        return total

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooHard

    def _take(self) -> str:
        """Move past the next token, and return its text."""
        text = self.next.text
        self._at += 1
        if self._at >= len(self._tokens):
            raise NotAFormula
        self._arithmetic.spend(1)
        return text

    def _took(self, text: str) -> bool:
        """Move past the next token if it is ``text``, and return whether it is."""
        if self.next.text != text:
            return False
        self._take()
        return True

    def _expect(self, text: str) -> None:
        if not self._took(text):
            raise NotAFormula

    def _product(self) -> ExactValue:
        """Read factors with signs between them or without."""
        result = self._signed()
        while True:
            if self.next.text in _TIMES:
                self._take()
                result = self._arithmetic.multiply(result, self._signed())
            elif self.next.text in _OVER:
                self._take()
                result = self._arithmetic.divide(result, self._signed())
            elif self._begins_factor():
                result = self._arithmetic.multiply(result, self._power())
            else:
                return result

    def _begins_factor(self) -> bool:
        """Return whether a product continues without a sign.

        With a number it does not: that belongs to something else.
        """
        kind = self.next.kind
        text = self.next.text
        if text == "|":
            return not self._open_bars
        if kind == "command":
            return text in _CONSTANTS or text in _GREEK or text[1:] in _OPERANDS
        return kind in ("letters", "greek") or text in ("(", "{", "[")

    def _signed(self) -> ExactValue:
        """Read signs and a power."""
        is_minus = False
        while self.next.text in ("+", "-"):
            if self._take() == "-":
                is_minus = not is_minus
        value = self._power()
        return self._arithmetic.negate(value) if is_minus else value

    def _power(self) -> ExactValue:
        """Read an operand, and its exponent if it has one."""
        base = self._postfix(self._primary())
        if not self._took("^"):
            return base
        return self._postfix(self._arithmetic.power(base, self._exponent()))

    def _exponent(self) -> ExactValue:
        """Read a group, or one sign, number, letter or command; 2^3^2 is 2^(3^2)."""
        self._deeper()
        is_minus = self._took("-")
        value = self._primary()
        if self._took("^"):
            value = self._arithmetic.power(value, self._exponent())
        self._depth -= 1
        return self._arithmetic.negate(value) if is_minus else value

    def _postfix(self, value: ExactValue) -> ExactValue:
        """Read ! and % behind ``value``."""
        while self.next.text in ("!", "%"):
            if self._take() == "!":
                value = self._arithmetic.factorial(value)
            else:
                value = self._arithmetic.divide(value, number(100))
        return value

    def _primary(self) -> ExactValue:
        self._deeper()
        value = self._operand()
        self._depth -= 1
        return value

    def _operand(self) -> ExactValue:
        """Read a number, a group, |x|, a function, a variable or a command."""
        kind = self.next.kind
        text = self.next.text
        if kind == "number":
            return self._number()
        if text in ("(", "[", "{"):
            return self._group()
        if text == "|":
            self._open_bars += 1
            value = self._group()
            self._open_bars -= 1
            return self._arithmetic.absolute(value)
        if kind == "letters" and text in _FUNCTIONS:
            return self._function(self._take())
        if kind in ("letters", "greek"):
            return self._variable(self._letter())
        if kind == "command":
            return self._command(self._take())
        raise NotAFormula

    def _group(self) -> ExactValue:
        """Read a sum in brackets."""
        opening = self._take()
        value = self.sum()
        self._expect(_CLOSING[opening])
        return value

    def _number(self) -> ExactValue:
        """Read a number, a recurring decimal or a mixed number."""
        digits = self._take()
        if "." in digits and self.next.text in ("\\overline", "\\bar", "\\dot"):
            return number(self._recurring(digits))
        whole = number(literal_value(digits))
        if not digits.isdigit():
            return whole
        if self.next.text == "\\frac":
            return self._mixed(whole)
        fraction = self._typed_fraction()
        return whole if fraction is None else self._arithmetic.add(whole, number(fraction))

    def _mixed(self, whole: ExactValue) -> ExactValue:
        """Return ``whole``, plus the proper fraction of two plain numbers if one follows."""
        following = self._tokens[self._at + 1 : self._at + 7]
        match = _PLAIN_FRACTION.match("".join(token.text for token in following))
        if not match:
            return whole
        above, below = (int(part) for part in match.groups() if part)
        if above >= below:
            return whole
        return self._arithmetic.add(whole, self._primary())

    def _typed_fraction(self) -> Fraction | None:
        """Read a proper fraction such as 1/2 behind a whole number and a space, if it is there."""
        if self._at + 3 > len(self._tokens):
            return None
        above = self._tokens[self._at]
        below = self._tokens[self._at + 2]
        if above.kind != "number" or not above.spaced or self._tokens[self._at + 1].text != "/":
            return None
        if not above.text.isdigit() or not below.text.isdigit():
            return None
        if int(above.text) >= int(below.text):
            return None
        for _ in range(3):
            self._take()
        return Fraction(int(above.text), int(below.text))

    def _recurring(self, digits: str) -> Fraction:
        r"""Read the period of a decimal such as 0.1\overline{6}."""
        self._take()
        is_braced = self._took("{")
        period = self._take()
        if is_braced:
            self._expect("}")
        if not period.isdigit() or len(period) + len(digits) > MAX_DIGITS:
            raise NotAFormula
        decimals = len(digits.partition(".")[2])
        return literal_value(digits) + Fraction(int(period), (10 ** len(period) - 1) * 10**decimals)

    def _letter(self) -> str:
        """Read the first letter of a run, whose rest is left for the next factor."""
        run = self.next
        if len(run.text) > MAX_LETTERS:
            raise NotAFormula
        if len(run.text) == 1:
            return self._take()
        self._tokens[self._at] = Token(run.kind, run.text[1:], run.spaced)
        return run.text[0]

    def _variable(self, name: str) -> ExactValue:
        """Read what belongs to the variable ``name``: a subscript, primes."""
        name = _CONSTANTS.get(name, name)
        if self._took("_"):
            name += f"_{self._subscript()}"
        while self.next.text == "'":
            name += self._take()
        return symbol(name)

    def _subscript(self) -> str:
        if not self._took("{"):
            return self._take()
        parts = []
        while self.next.text != "}":
            parts.append(self._take())
        self._take()
        return "".join(parts)

    def _command(self, name: str) -> ExactValue:
        if name == "\\frac":
            above = self._argument()
            return self._arithmetic.divide(above, self._argument())
        if name == "\\binom":
            above = self._argument()
            return self._arithmetic.binomial(above, self._argument())
        if name in _CONSTANTS or name in _GREEK:
            return self._variable(name)
        if name[1:] in _FUNCTIONS:
            return self._function(name[1:])
        raise NotAFormula

    def _argument(self) -> ExactValue:
        r"""Read a group, or a single character as TeX takes it: \frac12."""
        kind = self.next.kind
        text = self.next.text
        if text == "{":
            return self._group()
        if kind == "number" and text.isdigit() and len(text) > 1:
            self._tokens[self._at] = Token(kind, text[1:], False)
            return number(int(text[0]))
        if kind == "number":
            return number(literal_value(self._take()))
        return self._primary()

    def _function(self, name: str) -> ExactValue:
        """Read what belongs to the function ``name``: a base, a power, its argument."""
        if name == "sqrt":
            return self._root()
        base = power = None
        while self.next.text in ("_", "^"):
            if self._take() == "_":
                base = self._argument()
            else:
                power = self._exponent()
        is_group = self.next.text in ("(", "{", "[")
        argument = self._group() if is_group else self._bare_argument()
        value = self._apply(name, argument, base)
        return self._arithmetic.power(value, power) if power else value

    def _root(self) -> ExactValue:
        """Read the degree of a root, if it has one, and what is under it."""
        degree = Fraction(2)
        if self.next.text == "[":
            degree = self._group().rational or Fraction(0)
        if degree.denominator != 1:
            raise NotAFormula
        return self._arithmetic.root(self._argument(), int(degree))

    def _apply(self, name: str, argument: ExactValue, base: ExactValue | None) -> ExactValue:
        arithmetic = self._arithmetic
        if name == "exp":
            return arithmetic.power(symbol("e"), argument)
        if name == "ln":
            return arithmetic.logarithm(argument)
        if name in ("log", "lg"):
            above = arithmetic.logarithm(argument)
            return arithmetic.divide(above, arithmetic.logarithm(base or number(10)))
        return symbol(f"{name}({argument.spelling})")

    def _bare_argument(self) -> ExactValue:
        """Read what a function without brackets takes: factors up to a sign or a function."""
        value = self._power()
        while self._begins_factor():
            text = self.next.text
            is_function = text.removeprefix("\\") in _FUNCTIONS - {"sqrt"}
            if is_function or text in ("(", "["):
                break
            value = self._arithmetic.multiply(value, self._power())
        return value
