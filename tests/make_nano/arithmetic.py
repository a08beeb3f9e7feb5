"""The four operations worked out on paper: column by column, from the right, with the carry written
down.

This is what nano learns to write inside ``<think>``. Every step has both digits and the carry in
it, so that the next token never needs more than a single-digit fact. Whole numbers from 0 on only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Worked:
    """A calculation in words and what comes out; ``value`` is a text for a division that leaves a
    remainder.
    """

    text: str
    value: int | str

    @property
    def number(self) -> int:
        assert isinstance(self.value, int), self.value
        return self.value


def add(a: int, b: int) -> Worked:
    written = ""
    carry = 0
    steps = []
    for x, y in _columns(a, b):
        total = x + y + carry
        steps.append(f"{x}+{y}+{carry}={total}, write {total % 10} carry {total // 10}")
        written += str(total % 10)
        carry = total // 10
    if carry:
        steps.append(f"carry {carry}")
        written += str(carry)
    return Worked(f"{'; '.join(steps)}. Digits {' '.join(written)} reversed give {a + b}.", a + b)


def subtract(a: int, b: int) -> Worked:
    if a < b:
        other = subtract(b, a)
        return Worked(
            (
                f"{a} is smaller than {b}, so the result is negative. {other.text} So {a}-{b} ="
                f" -{other.value}."
            ),
            a - b,
        )
    written = ""
    borrow = 0
    steps = []
    for x, y in _columns(a, b):
        borrows = int(x - borrow < y)
        digit = x - borrow + 10 * borrows - y
        steps.append(f"{x}-{y}-{borrow}{'+10' * borrows}={digit}, borrow {borrows}")
        written += str(digit)
        borrow = borrows
    return Worked(f"{'; '.join(steps)}. Digits {' '.join(written)} reversed give {a - b}.", a - b)


def multiply(a: int, b: int) -> Worked:
    """The longer number times each digit of the other, summed up on the way."""
    if len(str(b)) > len(str(a)):
        other = multiply(b, a)
        return Worked(f"{a}*{b} is {b}*{a}. {other.text}", other.value)
    if min(a, b) <= 1:
        why = "Anything times 0 is 0" if 0 in (a, b) else "Times 1 changes nothing"
        return Worked(f"{why}, so {a}*{b} = {a * b}.", a * b)
    if b < 10:
        return Worked(_times_digit(a, b), a * b)
    parts = [
        (int(digit), 10**place) for place, digit in enumerate(reversed(str(b))) if digit != "0"
    ]
    text = [f"Split {b} into {' and '.join(str(digit * power) for digit, power in parts)}."]
    total = 0
    for digit, power in parts:
        product = a * digit * power
        text.append(
            _times_digit(a, digit) + (f" So {a}*{digit * power} = {product}." if power > 1 else "")
        )
        if total:
            text.append(f"Add {total} and {product}: {add(total, product).text}")
        total += product
    return Worked(f"{' '.join(text)} So {a}*{b} = {a * b}.", a * b)


def divide(a: int, b: int) -> Worked:
    """Long division: the remainder so far with the next digit behind it, divided again.

    A divisor that is not in the multiplication tables comes with its own table first.
    """
    rest, steps = 0, []
    table = ""
    if b > 12 and a >= b:
        multiples = ", ".join(f"{n}*{b}={n * b}" for n in range(1, 10))
        table = f"Multiples: {multiples}. "
    for digit in str(a):
        current = rest * 10 + int(digit)
        below = f"{current}-{current // b * b}={current % b}, " if table and current >= b else ""
        steps.append(f"{below}{current} divided by {b} is {current // b} remainder {current % b}")
        rest = current % b
    value = f"{a // b} remainder {rest}" if rest else a // b
    return Worked(f"{table}{'; '.join(steps)}. So {a}/{b} = {value}.", value)


def counted_power(base: int, exponent: int) -> Worked:
    """Return a power worked out with each step's exponent beside it, so that the end is seen."""
    value, written = base, [f"{base}^1={base}"]
    for number in range(2, exponent + 1):
        written.append(f"{base}^{number}={value}*{base}={value * base}")
        value *= base
    return Worked(f"I go up to {base}^{exponent}: {', '.join(written)}.", value)


OPERATIONS: dict[str, Callable[[int, int], Worked]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
}


CALCULATE = {"+": add, "-": subtract, "*": multiply, "/": divide}


def _columns(a: int, b: int) -> list[tuple[int, int]]:
    """Pairs of digits from the right, the shorter number filled up with zeros."""
    width = max(len(str(a)), len(str(b)))
    return [
        (int(x), int(y))
        for x, y in zip(reversed(f"{a:0{width}}"), reversed(f"{b:0{width}}"), strict=True)
    ]


def _times_digit(a: int, digit: int) -> str:
    carry, steps = 0, []
    for place in reversed(str(a)):
        product = int(place) * digit + carry
        steps.append(
            f"{place}*{digit}+{carry}={product}, write {product % 10} carry {product // 10}"
        )
        carry = product // 10
    if carry:
        steps.append(f"carry {carry}")
    return f"{'; '.join(steps)}. So {a}*{digit} = {a * digit}."
