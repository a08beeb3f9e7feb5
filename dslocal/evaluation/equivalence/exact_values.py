"""Exact values: quotients of sums of products of generators.

An :class:`ExactValue` is a quotient of two sums of products: a rational coefficient times powers of
generators. Generators are primes under a root, π, e, i, variables, and what is kept as it is (a
sine, a nested root) under its canonical spelling. Roots of primes are linearly independent over the
rationals, so two values whose cross products are the same sum are equal: √2/2 equals 1/√2 without
any floating point.

Every number is bounded in bits; beyond that, :class:`TooHard` is raised. Does not know how values
are added, multiplied or taken to a power (:mod:`.arithmetic`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

MAX_BITS = 8192  # of a numerator or denominator
Monomial = tuple[tuple[str, Fraction], ...]  # generators with their exponents, sorted
Terms = dict[Monomial, Fraction]  # coefficients by monomial
ONE: Terms = {(): Fraction(1)}
POSITIVE = frozenset({"π", "e"})  # generators that are known to be positive, besides the primes


class TooHard(Exception):
    """More work than an answer is worth, or no value at all, such as 1/0."""


class Term(NamedTuple):
    """A monomial and its coefficient."""

    monomial: Monomial
    coefficient: Fraction

    @property
    def has_known_sign(self) -> bool:
        """Return whether all generators are positive, so that the coefficient has the sign."""
        return all(is_positive(name) for name, _ in self.monomial)


@dataclass(frozen=True, slots=True)
class ExactValue:
    """A quotient of two sums.

    The denominator is one or has several terms; a single term is divided by at once.
    """

    numerator: Terms
    denominator: Terms

    @property
    def rational(self) -> Fraction | None:
        """Return the rational number that this is, if it is one."""
        if self.denominator != ONE or len(self.numerator) > 1:
            return None
        return self.numerator.get((), None if self.numerator else Fraction(0))

    @property
    def term(self) -> Term | None:
        """Return the only term, if there is but one."""
        if self.denominator != ONE or len(self.numerator) != 1:
            return None
        return Term(*next(iter(self.numerator.items())))

    @property
    def spelling(self) -> str:
        """Return the same text for the same terms, whatever order they came in."""
        if self.denominator == ONE:
            return spell(self.numerator)
        return f"({spell(self.numerator)})/({spell(self.denominator)})"


def number(value: Fraction | int) -> ExactValue:
    """Return a rational number."""
    return ExactValue({(): bounded(Fraction(value))} if value else {}, ONE)


def symbol(name: str) -> ExactValue:
    """Return a generator: ``π``, ``e``, ``i``, a variable, or what is to be kept as it is."""
    return ExactValue({((name, Fraction(1)),): Fraction(1)}, ONE)


def join(a: Monomial, b: Monomial) -> tuple[Fraction, Monomial]:
    """Return the product of two monomials.

    Returns:
        A rational factor (√2 · √2 = 2, i · i = -1) and a monomial.
    """
    exponents = dict(a)
    for name, e in b:
        exponents[name] = exponents.get(name, Fraction(0)) + e
    factor = Fraction(1)
    for name, e in exponents.items():
        if name.isdigit():
            whole = math.floor(e)
            if abs(whole) * int(name).bit_length() > MAX_BITS:
                raise TooHard
            factor *= Fraction(int(name)) ** whole
            exponents[name] = e - whole
        elif name == "i" and e.denominator == 1:
            factor *= -1 if e % 4 >= 2 else 1
            exponents[name] = Fraction(e % 2)
    return factor, tuple(sorted((name, e) for name, e in exponents.items() if e))


def bounded(value: Fraction) -> Fraction:
    """Return ``value``.

    Raises:
        TooHard: If it is too long.
    """
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooHard
    return value


def common_factor(coefficients: Iterable[Fraction]) -> Fraction:
    """Return the positive rational that leaves whole coefficients without a common factor."""
    numbers = list(coefficients)
    return Fraction(
        math.gcd(*(c.numerator for c in numbers)), math.lcm(*(c.denominator for c in numbers))
    )


def is_positive(name: str) -> bool:
    """Return whether a generator is known to be positive."""
    return name.isdigit() or name in POSITIVE


def spell(terms: Terms) -> str:
    """Return the same text for the same terms, whatever order they came in.

    Raises:
        TooHard: If it is too long.
    """
    parts = []
    for monomial, c in sorted(terms.items()):
        powers = "·".join(f"{name}^{e}" for name, e in monomial)
        parts.append(f"{c}·{powers}")
    spelled = "+".join(parts)
    if len(spelled) > MAX_BITS:
        raise TooHard
    return spelled
