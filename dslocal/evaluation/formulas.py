"""The grammar of one formula, in LaTeX or typed: text to an exact value, without evaluating
anything but arithmetic.

Understood: numbers (decimals, 1.2e3, 0.\\overline{3}), + - × ÷ /, powers, roots, fractions, mixed
numbers (1\\frac{1}{2}, 1 1/2), percent (50% is 0.5), factorials, binomials, |x|, π, e, i, ∞,
variables with subscripts, and functions by name. ``\\log`` without a base has base 10. A run of
more than three letters is a word and no product.
"""

from __future__ import annotations

import re
from fractions import Fraction

from .exact import Arithmetic, ExactValue, TooHard, number, symbol

MAX_DEPTH = 40
MAX_DIGITS = 1000

_TOKEN = re.compile(
    r"(?P<space>\s*)(?:"
    r"(?P<number>\d+\.\d*[eE][+-]?\d{1,4}(?!\d)|\d+[eE]\d{1,4}(?!\d)|\d+[eE][+-]\d{2,4}(?!\d)|\d+\.?\d*|\.\d+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<brace>\\[{}|])|(?P<letters>[A-Za-z]+)|(?P<greek>[α-ωΑ-Ω])|(?P<sign>[-+*/^_!%()\[\]{}|'∞])"
    r")"
)
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan ln log lg exp sqrt gcd lcm min max",
    )
)
_TIMES, _OVER = frozenset({"*", "\\times", "\\cdot", "\\ast"}), frozenset({"/", "\\div"})
_CONSTANTS = {
    "\\pi": "π",
    "π": "π",
    "\\infty": "∞",
    "∞": "∞",
    "\\ell": "l",
    "\\varphi": "\\phi",
    "\\varepsilon": "\\epsilon",
}
_GREEK_NAMES = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega"
_GREEK = frozenset(
    f"\\{spelled}" for name in _GREEK_NAMES.split(" ") for spelled in (name, name.capitalize())
)
_CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}
_END = ("end", "", False)


class NoFormula(Exception):
    """The text is no formula, as far as this grammar knows."""


def value_of(text: str, arithmetic: Arithmetic) -> ExactValue:
    """The value that ``text`` spells. Raises NoFormula, or TooHard when it would take too much
    work.
    """
    reader = _FormulaReader(text, arithmetic)
    value = reader.sum()
    if reader.kind != "end":
        raise NoFormula
    return value


class _FormulaReader:
    def __init__(self, text: str, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic
        self._tokens = _tokens(text)
        self._at = self._depth = 0
        self._bars = 0  # open |

    @property
    def kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def ahead(self) -> str:
        return self._tokens[self._at][1]

    def sum(self) -> ExactValue:
        total = self._product()
        while self.ahead in ("+", "-"):
            minus = self._take() == "-"
            term = self._product()
            total = self._arithmetic.add(total, self._arithmetic.negate(term) if minus else term)
        return total

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooHard

    def _take(self) -> str:
        token = self.ahead
        self._at += 1
        if self._at >= len(self._tokens):
            raise NoFormula
        self._arithmetic.spend(1)
        return token

    def _expect(self, token: str) -> None:
        if self.ahead != token:
            raise NoFormula
        self._take()

    def _product(self) -> ExactValue:
        result = self._signed()
        while True:
            if self.ahead in _TIMES:
                self._take()
                result = self._arithmetic.multiply(result, self._signed())
            elif self.ahead in _OVER:
                self._take()
                result = self._arithmetic.divide(result, self._signed())
            elif self._begins_factor():
                result = self._arithmetic.multiply(result, self._power())
            else:
                return result

    def _begins_factor(self) -> bool:
        """Whether a product goes on without a sign. With a number it does not: that belongs to
        something else.
        """
        if self.ahead == "|":
            return not self._bars
        return (
            self.kind in ("letters", "greek")
            or self.ahead in ("(", "{", "[")
            or (self.kind == "command" and self._is_operand())
        )

    def _is_operand(self) -> bool:
        if self.ahead in _TIMES | _OVER:
            return False
        return (
            self.ahead in _CONSTANTS
            or self.ahead in _GREEK
            or self.ahead[1:] in _FUNCTIONS | {"frac", "sqrt", "binom"}
        )

    def _signed(self) -> ExactValue:
        minus = False
        while self.ahead in ("+", "-"):
            minus ^= self._take() == "-"
        value = self._power()
        return self._arithmetic.negate(value) if minus else value

    def _power(self) -> ExactValue:
        base = self._postfix(self._primary())
        if self.ahead != "^":
            return base
        self._take()
        return self._postfix(self._arithmetic.power(base, self._exponent()))

    def _exponent(self) -> ExactValue:
        """A group, or one sign, number, letter or command; 2^3^2 is 2^(3^2)."""
        self._deeper()
        minus = self.ahead == "-" and bool(self._take())
        value = self._primary()
        if self.ahead == "^":
            self._take()
            value = self._arithmetic.power(value, self._exponent())
        self._depth -= 1
        return self._arithmetic.negate(value) if minus else value

    def _postfix(self, value: ExactValue) -> ExactValue:
        while self.ahead in ("!", "%"):
            sign = self._take()
            value = (
                self._arithmetic.factorial(value)
                if sign == "!"
                else self._arithmetic.divide(value, number(100))
            )
        return value

    def _primary(self) -> ExactValue:
        self._deeper()
        value = self._operand()
        self._depth -= 1
        return value

    def _operand(self) -> ExactValue:
        if self.kind == "number":
            return self._number()
        if self.ahead in ("(", "[", "{"):
            return self._group(self._take())
        if self.ahead == "|":
            self._take()
            self._bars += 1
            value = self._group("|")
            self._bars -= 1
            return self._arithmetic.absolute(value)
        if self.kind == "letters" and self.ahead in _FUNCTIONS:
            return self._function(self._take())
        if self.kind in ("letters", "greek"):
            return self._variable(self._letter())
        if self.kind == "command":
            return self._command(self._take())
        raise NoFormula

    def _group(self, opening: str) -> ExactValue:
        value = self.sum()
        self._expect(_CLOSING[opening])
        return value

    def _number(self) -> ExactValue:
        digits = self._take()
        if self.ahead in ("\\overline", "\\bar", "\\dot") and "." in digits:
            return number(self._recurring(digits))
        whole = number(_literal(digits))
        if not digits.isdigit():
            return whole
        if self.ahead == "\\frac":
            return self._mixed(whole, self._tokens[self._at + 1 : self._at + 7])
        (kind, above, spaced), *rest = self._tokens[self._at : self._at + 3]
        if (
            kind == "number"
            and spaced
            and rest[0][1] == "/"
            and above.isdigit()
            and rest[1][1].isdigit()
            and int(above) < int(rest[1][1])
        ):
            for _ in range(3):
                self._take()
            return self._arithmetic.add(whole, number(Fraction(int(above), int(rest[1][1]))))
        return whole

    def _mixed(self, whole: ExactValue, following: list[tuple[str, str, bool]]) -> ExactValue:
        """``whole``, plus the proper fraction of two plain numbers that follows, if that is what
        follows.
        """
        spelled = "".join(token for _, token, _ in following)
        match = re.match(
            r"(?a:\{(\d+)\}\{(\d+)\}|(\d)(\d)(?!\d)|\{(\d+)\}(\d)|(\d)\{(\d+)\})", spelled
        )
        if not match:
            return whole
        above, below = (int(part) for part in match.groups() if part)
        if not above < below:
            return whole
        return self._arithmetic.add(whole, self._primary())

    def _recurring(self, digits: str) -> Fraction:
        self._take()
        braced = self.ahead == "{" and bool(self._take())
        period = self._take()
        if braced:
            self._expect("}")
        if not period.isdigit() or len(period) + len(digits) > MAX_DIGITS:
            raise NoFormula
        behind = len(digits.partition(".")[2])
        return _literal(digits) + Fraction(int(period), (10 ** len(period) - 1) * 10**behind)

    def _letter(self) -> str:
        """The first letter of a run, whose rest is left for the next factor."""
        kind, letters, spaced = self._tokens[self._at]
        if len(letters) > 3:
            raise NoFormula
        if len(letters) == 1:
            return self._take()
        self._tokens[self._at] = (kind, letters[1:], spaced)
        return letters[0]

    def _variable(self, name: str) -> ExactValue:
        name = _CONSTANTS.get(name, name)
        if self.ahead == "_":
            self._take()
            name += f"_{self._subscript()}"
        while self.ahead == "'":
            name += self._take()
        return symbol(name)

    def _subscript(self) -> str:
        if self.ahead != "{":
            return self._take()
        self._take()
        parts = []
        while self.ahead != "}":
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
        raise NoFormula

    def _argument(self) -> ExactValue:
        """A group, or a single character as TeX takes it: \\frac12."""
        if self.ahead == "{":
            return self._group(self._take())
        kind, token, _ = self._tokens[self._at]
        if kind == "number" and token.isdigit() and len(token) > 1:
            self._tokens[self._at] = (kind, token[1:], False)
            return number(int(token[0]))
        if kind == "number":
            return number(_literal(self._take()))
        return self._primary()

    def _function(self, name: str) -> ExactValue:
        arithmetic = self._arithmetic
        if name == "sqrt":
            degree = Fraction(2)
            if self.ahead == "[":
                degree = self._group(self._take()).rational or Fraction(0)
            if degree.denominator != 1:
                raise NoFormula
            return arithmetic.root(self._argument(), int(degree))
        base = power = None
        while self.ahead in ("_", "^"):
            if self._take() == "_":
                base = self._argument()
            else:
                power = self._exponent()
        argument = (
            self._group(self._take()) if self.ahead in ("(", "{", "[") else self._bare_argument()
        )
        value = self._call(name, argument, base)
        return arithmetic.power(value, power) if power else value

    def _call(self, name: str, argument: ExactValue, base: ExactValue | None) -> ExactValue:
        arithmetic = self._arithmetic
        if name == "exp":
            return arithmetic.power(symbol("e"), argument)
        if name == "ln":
            return arithmetic.logarithm(argument)
        if name in ("log", "lg"):
            return arithmetic.divide(
                arithmetic.logarithm(argument), arithmetic.logarithm(base or number(10))
            )
        return symbol(f"{name}({argument.spelling})")

    def _bare_argument(self) -> ExactValue:
        """What a function without brackets takes: the factors up to the next sign or function."""
        value = self._power()
        while (
            self._begins_factor()
            and self.ahead.removeprefix("\\") not in _FUNCTIONS - {"sqrt"}
            and self.ahead not in ("(", "[")
        ):
            value = self._arithmetic.multiply(value, self._power())
        return value


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """Kind, text and whether there was space before."""
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or not match.lastgroup:
            raise NoFormula
        tokens.append((match.lastgroup, match[match.lastgroup], bool(match["space"])))
        at = match.end()
    return [*tokens, _END]


def _literal(digits: str) -> Fraction:
    if len(digits) > MAX_DIGITS:
        raise TooHard
    mantissa, _, exponent = digits.lower().partition("e")
    if abs(int(exponent or 0)) > MAX_DIGITS:
        raise TooHard
    return Fraction(mantissa.rstrip(".")) * Fraction(10) ** int(exponent or 0)
