"""Calculate exactly with the values in final answers, and bound the work for each answer.

Two values are equal if their cross products are the same sum. Values that are found equal are
equal; but an identity that this module does not know (sin² + cos² = 1) is missed.

Nothing here evaluates text. Every number is bounded in bits and every operation in steps; beyond
that, :class:`TooHard` is raised.
"""

from __future__ import annotations

import math
from fractions import Fraction

from .exact_values import (
    MAX_BITS,
    ONE,
    ExactValue,
    Term,
    Terms,
    TooHard,
    bounded,
    common_factor,
    is_positive,
    join,
    number,
    spell,
    symbol,
)

MAX_STEPS = 20_000  # products of two terms, about; a quarter of a second at the worst
MAX_POWER = 64  # of a sum
MAX_ROOT = 12
MAX_FACTORIAL = 500
MAX_TRIAL = 10_000  # primes above this are not looked for


class Arithmetic:
    """Operations on values that may take so many steps together.

    Each raises TooHard when they are spent.
    """

    def __init__(self, steps: int = MAX_STEPS) -> None:
        """Allow ``steps`` steps."""
        self._steps = steps

    def spend(self, steps: int) -> None:
        """Count ``steps`` steps.

        Raises:
            TooHard: If fewer are left.
        """
        self._steps -= steps
        if self._steps < 0:
            raise TooHard

    def add(self, a: ExactValue, b: ExactValue) -> ExactValue:
        """Return a + b."""
        if a.denominator == b.denominator:
            return self._quotient(self._sum(a.numerator, b.numerator), a.denominator)
        left = self._product(a.numerator, b.denominator)
        right = self._product(b.numerator, a.denominator)
        return self._quotient(self._sum(left, right), self._product(a.denominator, b.denominator))

    def negate(self, a: ExactValue) -> ExactValue:
        """Return -a."""
        terms = {monomial: -coefficient for monomial, coefficient in a.numerator.items()}
        return ExactValue(terms, a.denominator)

    def multiply(self, a: ExactValue, b: ExactValue) -> ExactValue:
        """Return a · b."""
        return self._quotient(
            self._product(a.numerator, b.numerator), self._product(a.denominator, b.denominator)
        )

    def divide(self, a: ExactValue, b: ExactValue) -> ExactValue:
        """Return a / b."""
        return self._quotient(
            self._product(a.numerator, b.denominator), self._product(a.denominator, b.numerator)
        )

    def is_same(self, a: ExactValue, b: ExactValue) -> bool:
        """Return whether a = b."""
        left = self._product(a.numerator, b.denominator)
        right = self._product(b.numerator, a.denominator)
        return left == right

    def is_proportional(self, a: ExactValue, b: ExactValue) -> bool:
        """Return whether one is the other times a rational number other than 0.

        Then a = 0 and b = 0 are the same equation.
        """
        left = self._product(a.numerator, b.denominator)
        right = self._product(b.numerator, a.denominator)
        if left.keys() != right.keys():
            return False
        return len({left[monomial] / right[monomial] for monomial in left}) <= 1

    def power(self, base: ExactValue, exponent: ExactValue) -> ExactValue:
        """Return base ^ exponent.

        A single term takes a sum as exponent apart (2^(n+1) = 2 · 2^n); other bases only take whole
        numbers and roots.
        """
        rational = exponent.rational
        if rational is not None:
            if rational.denominator == 1:
                return self._whole_power(base, int(rational))
            return self._whole_power(self.root(base, rational.denominator), rational.numerator)
        if base.term is None or exponent.denominator != ONE:
            return symbol(f"({base.spelling})^({exponent.spelling})")
        result = number(1)
        for monomial, coefficient in exponent.numerator.items():
            if monomial:
                factor = self._symbolic_power(base.term, Term(monomial, coefficient))
            else:
                factor = self.power(base, number(coefficient))
            result = self.multiply(result, factor)
        return result

    def root(self, value: ExactValue, degree: int) -> ExactValue:
        """Return the root: real where there is one, i√a for the square root of a negative."""
        if not 2 <= degree <= MAX_ROOT:
            raise TooHard
        if not value.numerator:
            return value
        if value.denominator != ONE:
            return symbol(f"root{degree}({value.spelling})")
        content = common_factor(value.numerator.values())
        term = value.term
        if term and term.coefficient < 0:
            if degree == 2 and term.has_known_sign:
                return self.multiply(symbol("i"), self.root(self.negate(value), 2))
            if degree % 2:
                content = -content
        outside = self._rational_root(abs(content), degree)
        if content < 0:
            outside = self.negate(outside)
        rest = {monomial: c / content for monomial, c in value.numerator.items()}
        return self.multiply(outside, self._primitive_root(rest, degree))

    def logarithm(self, value: ExactValue) -> ExactValue:
        """Return the natural logarithm, taken apart where the parts are positive: ln 8 = 3 ln 2."""
        term = value.term
        if term is None or term.coefficient <= 0 or not term.has_known_sign:
            return symbol(f"ln({value.spelling})")
        result = number(0)
        for name, exponent in [*self._prime_powers(term.coefficient), *term.monomial]:
            part = number(1) if name == "e" else symbol(f"ln({name})")
            result = self.add(result, self.multiply(number(exponent), part))
        return result

    def absolute(self, value: ExactValue) -> ExactValue:
        """Return |value|."""
        term = value.term
        if not value.numerator:
            return value
        if term and term.has_known_sign:
            return value if term.coefficient > 0 else self.negate(value)
        return symbol(f"|{min(value.spelling, self.negate(value).spelling)}|")

    def factorial(self, value: ExactValue) -> ExactValue:
        """Return value!."""
        n = value.rational
        if n is None:
            return symbol(f"({value.spelling})!")
        if n.denominator != 1 or not 0 <= n <= MAX_FACTORIAL:
            raise TooHard
        return number(math.factorial(int(n)))

    def binomial(self, above: ExactValue, below: ExactValue) -> ExactValue:
        """Return the binomial coefficient of ``above`` over ``below``."""
        n = above.rational
        k = below.rational
        if n is None or k is None:
            return symbol(f"binom({above.spelling},{below.spelling})")
        if n.denominator != 1 or k.denominator != 1 or not (0 <= n <= MAX_FACTORIAL and k >= 0):
            raise TooHard
        return number(math.comb(int(n), int(k)))

    def _sum(self, a: Terms, b: Terms) -> Terms:
        self.spend(len(a) + len(b))
        total = dict(a)
        for monomial, c in b.items():
            total[monomial] = bounded(total.get(monomial, Fraction(0)) + c)
        return {monomial: c for monomial, c in total.items() if c}

    def _product(self, a: Terms, b: Terms) -> Terms:
        if b == ONE:
            return a
        if a == ONE:
            return b
        total: Terms = {}
        for one, c in a.items():
            for other, d in b.items():
                bits = c.numerator.bit_length() + c.denominator.bit_length()
                bits += d.numerator.bit_length()
                self.spend(1 + len(one) + len(other) + bits // 256)
                factor, monomial = join(one, other)
                coefficient = bounded(c * d) * factor
                total[monomial] = bounded(total.get(monomial, Fraction(0)) + coefficient)
        return {monomial: c for monomial, c in total.items() if c}

    def _quotient(self, numerator: Terms, denominator: Terms) -> ExactValue:
        if not denominator:
            raise TooHard
        if not numerator:
            return ExactValue({}, ONE)
        if len(denominator) > 1:
            return ExactValue(numerator, denominator)
        ((monomial, c),) = denominator.items()
        factor, inverse = join(tuple((name, -e) for name, e in monomial), ())
        return ExactValue(self._product(numerator, {inverse: factor / c}), ONE)

    def _whole_power(self, base: ExactValue, exponent: int) -> ExactValue:
        if exponent < 0:
            return self.divide(number(1), self._whole_power(base, -exponent))
        if not base.numerator and not exponent:
            raise TooHard
        if base.term:
            return self._power_of_term(base.term, exponent)
        if exponent > MAX_POWER:
            raise TooHard
        result = number(1)
        for _ in range(exponent):
            result = self.multiply(result, base)
        return result

    def _power_of_term(self, term: Term, exponent: int) -> ExactValue:
        c = term.coefficient
        bits = max(c.numerator.bit_length(), c.denominator.bit_length(), 1)
        if bits * exponent > MAX_BITS and abs(c) != 1:
            raise TooHard
        self.spend(1 + exponent.bit_length())
        power = abs(c) ** exponent if abs(c) != 1 else Fraction(1)
        if c < 0 and exponent % 2:
            power = -power
        factor, raised = join(tuple((name, e * exponent) for name, e in term.monomial), ())
        return ExactValue({raised: bounded(power * factor)}, ONE)

    def _symbolic_power(self, base: Term, exponent: Term) -> ExactValue:
        """Return a single term to a power in which there is a generator."""
        name = spell({exponent.monomial: Fraction(1)})
        generators = base.monomial
        if base.coefficient > 0 and base.has_known_sign:
            parts = [*self._prime_powers(base.coefficient), *generators]
        elif base.coefficient == 1 and len(generators) == 1 and generators[0][1] == 1:
            parts = [*generators]
        else:
            inside = spell({base.monomial: base.coefficient})
            return symbol(f"({inside})^({spell({exponent.monomial: exponent.coefficient})})")
        powers = [(f"{g}^({name})", e * exponent.coefficient) for g, e in parts]
        return ExactValue({tuple(sorted(powers)): Fraction(1)}, ONE)

    def _rational_root(self, value: Fraction, degree: int) -> ExactValue:
        powers = tuple((name, e / degree) for name, e in self._prime_powers(value))
        factor, monomial = join(powers, ())
        return ExactValue({monomial: factor}, ONE)

    def _primitive_root(self, terms: Terms, degree: int) -> ExactValue:
        """Return the root of a sum without rational factor.

        π and e leave the root, one variable alone becomes a power, and the rest stays under it.
        """
        if len(terms) > 1:
            return symbol(f"root{degree}({spell(terms)})")
        ((monomial, c),) = terms.items()
        outside = [(name, e / degree) for name, e in monomial if is_positive(name)]
        inside = tuple((name, e) for name, e in monomial if not is_positive(name))
        if c == 1 and len(inside) == 1 and inside[0][1] == 1 and inside[0][0] != "i":
            outside.append((inside[0][0], Fraction(1, degree)))
        elif inside or c != 1:
            outside.append((f"root{degree}({spell({inside: c})})", Fraction(1)))
        factor, joined = join(tuple(outside), ())
        return ExactValue({joined: factor}, ONE)

    def _prime_powers(self, value: Fraction) -> list[tuple[str, Fraction]]:
        """Return the primes of a positive number with their exponents, negative below the line."""
        above = [(str(p), Fraction(n)) for p, n in self._factors(value.numerator)]
        below = [(str(p), Fraction(-n)) for p, n in self._factors(value.denominator)]
        return above + below

    def _factors(self, n: int) -> list[tuple[int, int]]:
        """Return primes with their exponents.

        What is left without a prime factor below :data:`MAX_TRIAL` is taken for a prime, unless it
        is a square or a cube.
        """
        if n.bit_length() > 256:
            raise TooHard
        self.spend(min(300, 1 + math.isqrt(n) // 32))
        found = []
        p = 2
        while p < MAX_TRIAL and p * p <= n:
            exponent = 0
            while n % p == 0:
                n //= p
                exponent += 1
            if exponent:
                found.append((p, exponent))
            p += 1 if p == 2 else 2
        if n > 1:
            found.append(_as_power(n))
        return found


def _as_power(n: int) -> tuple[int, int]:
    """Return base and exponent of a square or a cube; others are their own base."""
    square = math.isqrt(n)
    if square * square == n:
        return square, 2
    cube = round(n ** (1 / 3))
    return (cube, 3) if cube**3 == n else (n, 1)
