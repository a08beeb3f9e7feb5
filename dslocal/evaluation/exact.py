"""Exact arithmetic on what final answers are made of, with a bound on the work that an answer can
cause.

A :class:`ExactValue` is a quotient of two sums of products: a rational coefficient times powers of
generators. Generators are primes under a root, π, e, i, variables, and whatever else is kept as it
is (a sine, a nested root) under its canonical spelling. Roots of primes are linearly independent
over the rationals, so two values whose cross products are the same sum are equal, and √2/2 meets
1/√2 without any floating point. What is said to be equal is equal; an identity that is not known
(sin² + cos² = 1) is missed.

Nothing here evaluates text. Every number is bounded in bits and every operation in steps; beyond
that, :class:`TooHard`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

STEPS = 20_000  # products of two terms, about; a quarter of a second at the worst
BITS = 8192  # of a numerator or denominator
MAX_POWER = 64  # of a sum
MAX_ROOT = 12
MAX_FACTORIAL = 500
TRIAL = 10_000  # primes above this are not looked for

Monomial = tuple[tuple[str, Fraction], ...]
Terms = dict[Monomial, Fraction]
ONE: Terms = {(): Fraction(1)}
POSITIVE = frozenset({"π", "e"})  # generators that are known to be positive, besides the primes


class TooHard(Exception):
    """More work than an answer is worth, or no value at all, as 1/0."""


@dataclass(frozen=True, slots=True)
class ExactValue:
    """``top`` over ``bottom``, which is one or has several terms: a single term is divided by at
    once.
    """

    top: Terms
    bottom: Terms

    @property
    def rational(self) -> Fraction | None:
        """The number that this is, when it is one."""
        if self.bottom != ONE or len(self.top) > 1:
            return None
        return self.top.get((), None if self.top else Fraction(0))

    @property
    def term(self) -> tuple[Monomial, Fraction] | None:
        """Monomial and coefficient, when there is but one."""
        return next(iter(self.top.items())) if self.bottom == ONE and len(self.top) == 1 else None

    @property
    def spelling(self) -> str:
        """The same for the same terms, whatever order they came in."""
        return (
            _spell(self.top)
            if self.bottom == ONE
            else f"({_spell(self.top)})/({_spell(self.bottom)})"
        )


def number(value: Fraction | int) -> ExactValue:
    return ExactValue({(): _bounded(Fraction(value))} if value else {}, ONE)


def symbol(name: str) -> ExactValue:
    """A generator: ``π``, ``e``, ``i``, a variable, or anything that is to be kept as it is."""
    return ExactValue({((name, Fraction(1)),): Fraction(1)}, ONE)


class Arithmetic:
    """Operations on values that may take ``steps`` steps together. Each raises TooHard rather than
    work on.
    """

    def __init__(self, steps: int = STEPS) -> None:
        self._steps = steps

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooHard

    def add(self, a: ExactValue, b: ExactValue) -> ExactValue:
        if a.bottom == b.bottom:
            return self._quotient(self._sum(a.top, b.top), a.bottom)
        return self._quotient(
            self._sum(self._product(a.top, b.bottom), self._product(b.top, a.bottom)),
            self._product(a.bottom, b.bottom),
        )

    def negate(self, a: ExactValue) -> ExactValue:
        return ExactValue({monomial: -c for monomial, c in a.top.items()}, a.bottom)

    def multiply(self, a: ExactValue, b: ExactValue) -> ExactValue:
        return self._quotient(self._product(a.top, b.top), self._product(a.bottom, b.bottom))

    def divide(self, a: ExactValue, b: ExactValue) -> ExactValue:
        return self._quotient(self._product(a.top, b.bottom), self._product(a.bottom, b.top))

    def same(self, a: ExactValue, b: ExactValue) -> bool:
        return self._product(a.top, b.bottom) == self._product(b.top, a.bottom)

    def proportional(self, a: ExactValue, b: ExactValue) -> bool:
        """Whether one is the other times a rational number other than 0: what makes a = 0 and b = 0
        the same equation.
        """
        left, right = self._product(a.top, b.bottom), self._product(b.top, a.bottom)
        if left.keys() != right.keys():
            return False
        return len({left[monomial] / right[monomial] for monomial in left}) <= 1

    def power(self, base: ExactValue, exponent: ExactValue) -> ExactValue:
        """Positive bases take any exponent apart (2^(n+1) = 2 · 2^n); others only whole numbers and
        roots.
        """
        rational = exponent.rational
        if rational is not None:
            if rational.denominator == 1:
                return self._whole_power(base, int(rational))
            return self._whole_power(self.root(base, rational.denominator), rational.numerator)
        term = base.term
        if term is None or exponent.bottom != ONE:
            return symbol(f"({base.spelling})^({exponent.spelling})")
        result = number(1)
        for monomial, coefficient in exponent.top.items():
            constant = number(coefficient)
            result = self.multiply(
                result,
                self._symbolic_power(term, monomial, coefficient)
                if monomial
                else self.power(base, constant),
            )
        return result

    def root(self, value: ExactValue, degree: int) -> ExactValue:
        """The ``degree``-th root: real where there is one, i√a for the square root of a negative
        number.
        """
        if not 2 <= degree <= MAX_ROOT:
            raise TooHard
        if not value.top:
            return value
        if value.bottom != ONE:
            return symbol(f"root{degree}({value.spelling})")
        content = _content(value.top.values())
        if (term := value.term) and term[1] < 0:
            if degree % 2:
                content = -content
            elif degree == 2 and all(_is_positive(name) for name, _ in term[0]):
                return self.multiply(symbol("i"), self.root(self.negate(value), 2))
        outside = self._rational_root(abs(content), degree)
        rest = {monomial: c / content for monomial, c in value.top.items()}
        if content < 0:
            outside = self.negate(outside)
        return self.multiply(outside, self._primitive_root(rest, degree))

    def logarithm(self, value: ExactValue) -> ExactValue:
        """The natural one, taken apart where the parts are positive: ln 8 = 3 ln 2."""
        term = value.term
        if not term or term[1] <= 0 or not all(_is_positive(name) for name, _ in term[0]):
            return symbol(f"ln({value.spelling})")
        result = number(0)
        powers = [
            *self._factors(term[1].numerator),
            *((p, -n) for p, n in self._factors(term[1].denominator)),
        ]
        for name, exponent in [*((str(p), Fraction(n)) for p, n in powers), *term[0]]:
            part = number(1) if name == "e" else symbol(f"ln({name})")
            result = self.add(result, self.multiply(number(exponent), part))
        return result

    def absolute(self, value: ExactValue) -> ExactValue:
        term = value.term
        if not value.top or (
            term and term[1] > 0 and all(_is_positive(name) for name, _ in term[0])
        ):
            return value
        if term and all(_is_positive(name) for name, _ in term[0]):
            return self.negate(value)
        return symbol(f"|{min(value.spelling, self.negate(value).spelling)}|")

    def factorial(self, value: ExactValue) -> ExactValue:
        n = value.rational
        if n is None:
            return symbol(f"({value.spelling})!")
        if n.denominator != 1 or not 0 <= n <= MAX_FACTORIAL:
            raise TooHard
        return number(math.factorial(int(n)))

    def binomial(self, above: ExactValue, below: ExactValue) -> ExactValue:
        n, k = above.rational, below.rational
        if n is None or k is None:
            return symbol(f"binom({above.spelling},{below.spelling})")
        if n.denominator != 1 or k.denominator != 1 or not (0 <= n <= MAX_FACTORIAL and k >= 0):
            raise TooHard
        return number(math.comb(int(n), int(k)))

    def _sum(self, a: Terms, b: Terms) -> Terms:
        self.spend(len(a) + len(b))
        total = dict(a)
        for monomial, c in b.items():
            total[monomial] = _bounded(total.get(monomial, Fraction(0)) + c)
        return {monomial: c for monomial, c in total.items() if c}

    def _product(self, a: Terms, b: Terms) -> Terms:
        if b == ONE:
            return a
        if a == ONE:
            return b
        total: Terms = {}
        for m, c in a.items():
            for n, d in b.items():
                self.spend(
                    1
                    + len(m)
                    + len(n)
                    + (
                        c.numerator.bit_length()
                        + d.numerator.bit_length()
                        + c.denominator.bit_length()
                    )
                    // 256
                )
                factor, monomial = _join(m, n)
                total[monomial] = _bounded(
                    total.get(monomial, Fraction(0)) + _bounded(c * d) * factor
                )
        return {monomial: c for monomial, c in total.items() if c}

    def _quotient(self, top: Terms, bottom: Terms) -> ExactValue:
        if not bottom:
            raise TooHard
        if not top:
            return ExactValue({}, ONE)
        if len(bottom) > 1:
            return ExactValue(top, bottom)
        ((monomial, c),) = bottom.items()
        factor, inverse = _join(tuple((name, -e) for name, e in monomial), ())
        return ExactValue(self._product(top, {inverse: factor / c}), ONE)

    def _whole_power(self, base: ExactValue, exponent: int) -> ExactValue:
        if exponent < 0:
            return self.divide(number(1), self._whole_power(base, -exponent))
        if not base.top and not exponent:
            raise TooHard
        if term := base.term:
            monomial, c = term
            if (
                max(c.numerator.bit_length(), c.denominator.bit_length(), 1) * exponent > BITS
                and abs(c) != 1
            ):
                raise TooHard
            self.spend(1 + exponent.bit_length())
            sign = -1 if c < 0 and exponent % 2 else 1
            factor, raised = _join(tuple((name, e * exponent) for name, e in monomial), ())
            return ExactValue(
                {
                    raised: _bounded(
                        (abs(c) ** exponent if abs(c) != 1 else Fraction(1)) * sign * factor
                    )
                },
                ONE,
            )
        if exponent > MAX_POWER:
            raise TooHard
        result = number(1)
        for _ in range(exponent):
            result = self.multiply(result, base)
        return result

    def _symbolic_power(
        self, base: tuple[Monomial, Fraction], monomial: Monomial, coefficient: Fraction
    ) -> ExactValue:
        """A single term to the power of ``coefficient`` times ``monomial``, in which there is a
        generator.
        """
        inside, c = base
        name = _spell({monomial: Fraction(1)})
        if c > 0 and all(_is_positive(g) for g, _ in inside):
            powers = [
                *self._factors(c.numerator),
                *((p, -n) for p, n in self._factors(c.denominator)),
            ]
            parts = [*((str(p), Fraction(n)) for p, n in powers), *inside]
        elif c == 1 and len(inside) == 1 and inside[0][1] == 1:
            parts = [*inside]
        else:
            return symbol(f"({_spell({inside: c})})^({_spell({monomial: coefficient})})")
        return ExactValue(
            {tuple(sorted((f"{g}^({name})", e * coefficient) for g, e in parts)): Fraction(1)}, ONE
        )

    def _rational_root(self, value: Fraction, degree: int) -> ExactValue:
        powers = [
            *self._factors(value.numerator),
            *((p, -n) for p, n in self._factors(value.denominator)),
        ]
        factor, monomial = _join(tuple((str(p), Fraction(n, degree)) for p, n in powers), ())
        return ExactValue({monomial: factor}, ONE)

    def _primitive_root(self, terms: Terms, degree: int) -> ExactValue:
        """The root of a sum without rational factor: π and e leave it, one variable alone is a
        power, the rest stays.
        """
        if len(terms) > 1:
            return symbol(f"root{degree}({_spell(terms)})")
        ((monomial, c),) = terms.items()
        outside = [(name, e / degree) for name, e in monomial if _is_positive(name)]
        inside = tuple((name, e) for name, e in monomial if not _is_positive(name))
        if len(inside) == 1 and inside[0][1] == 1 and c == 1 and inside[0][0] != "i":
            outside.append((inside[0][0], Fraction(1, degree)))
        elif inside or c != 1:
            outside.append((f"root{degree}({_spell({inside: c})})", Fraction(1)))
        factor, joined = _join(tuple(outside), ())
        return ExactValue({joined: factor}, ONE)

    def _factors(self, n: int) -> list[tuple[int, int]]:
        """Primes and exponents; what has no prime factor below :data:`TRIAL` is taken for one,
        unless it is a square or cube.
        """
        if n.bit_length() > 256:
            raise TooHard
        self.spend(min(300, 1 + math.isqrt(n) // 32))
        found = []
        p = 2
        while p < TRIAL and p * p <= n:
            k = 0
            while n % p == 0:
                n //= p
                k += 1
            if k:
                found.append((p, k))
            p += 1 if p == 2 else 2
        if n > 1:
            square, cube = math.isqrt(n), round(n ** (1 / 3))
            found.append(
                (square, 2) if square * square == n else (cube, 3) if cube**3 == n else (n, 1)
            )
        return found


def _join(a: Monomial, b: Monomial) -> tuple[Fraction, Monomial]:
    """The product of two monomials: a rational factor (√2 · √2 = 2, i · i = -1) and a monomial."""
    exponents = dict(a)
    for name, e in b:
        exponents[name] = exponents.get(name, Fraction(0)) + e
    factor = Fraction(1)
    for name, e in exponents.items():
        if name.isdigit():
            whole = math.floor(e)
            if abs(whole) * int(name).bit_length() > BITS:
                raise TooHard
            factor *= Fraction(int(name)) ** whole
            exponents[name] = e - whole
        elif name == "i" and e.denominator == 1:
            factor *= -1 if e % 4 >= 2 else 1
            exponents[name] = Fraction(e % 2)
    return factor, tuple(sorted((name, e) for name, e in exponents.items() if e))


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > BITS or value.denominator.bit_length() > BITS:
        raise TooHard
    return value


def _content(coefficients: Iterable[Fraction]) -> Fraction:
    """The positive rational that leaves whole coefficients without a common factor."""
    numbers = list(coefficients)
    return Fraction(
        math.gcd(*(c.numerator for c in numbers)), math.lcm(*(c.denominator for c in numbers))
    )


def _is_positive(name: str) -> bool:
    return name.isdigit() or name in POSITIVE


def _spell(terms: Terms) -> str:
    spelled = "+".join(
        f"{c}·{'·'.join(f'{name}^{e}' for name, e in monomial)}"
        for monomial, c in sorted(terms.items())
    )
    if len(spelled) > BITS:
        raise TooHard
    return spelled
