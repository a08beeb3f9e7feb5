"""Problems of other kinds: roots, powers, percents, decimals, primes, comparing, sorting, long
sums, units, counting letters.

Each kind reasons in the words that decide it, so that a model of this size can: 9.11 and 9.9 are
both written with two decimals.
"""

from __future__ import annotations

import random

from make_nano.arithmetic import OPERATIONS, Worked, add, counted_power, multiply
from make_nano.phrasing import ASKED
from make_nano.problems import Problem
from make_nano.words import SPELLED

UNITS = (
    (1000, "km", "meters"),
    (100, "meters", "centimeters"),
    (60, "hours", "minutes"),
    (60, "minutes", "seconds"),
    (24, "days", "hours"),
    (7, "weeks", "days"),
    (1000, "kg", "grams"),
    (12, "years", "months"),
)
PERCENTS = (5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 90)
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)


def puzzle(r: random.Random) -> Problem:
    return PUZZLES[r.randrange(len(PUZZLES))](r, r.choice(["?", "?", "", "."]))


def square_root(r: random.Random, end: str) -> Problem:
    root = r.randint(1, 30)
    square = root * root
    question = r.choice(
        [
            f"What is the square root of {square}",
            f"square root of {square}",
            f"sqrt({square})",
            f"√{square}",
        ]
    )
    return Problem(
        question + end,
        Worked(f"I look for a number whose square is {square}. {root}*{root} = {square}.", root),
    )


def square(r: random.Random, end: str) -> Problem:
    n = r.randint(2, 99)
    product = multiply(n, n)
    question = r.choice([f"What is {n} squared", f"{n}^2", f"{n} squared", f"the square of {n}"])
    return Problem(question + end, Worked(f"{n} squared is {n}*{n}. {product.text}", product.value))


def power(r: random.Random, end: str) -> Problem:
    base, exponent = r.choice(
        [(2, r.randint(2, 12)), (3, r.randint(2, 6)), (5, r.randint(2, 4)), (10, r.randint(2, 6))]
    )
    question = r.choice(
        [f"What is {base}^{exponent}", f"{base} to the power of {exponent}", f"{base}**{exponent}"]
    )
    return Problem(question + end, counted_power(base, exponent))


def percent(r: random.Random, end: str) -> Problem:
    share, n = r.choice(PERCENTS), r.randint(1, 60) * 20  # so that the result is whole
    product = multiply(share, n)
    value = product.number // 100
    question = r.choice([f"What is {share}% of {n}", f"{share}% of {n}", f"{share} percent of {n}"])
    thinking = (
        f"{share}% of {n} is {share}*{n} divided by 100. {product.text} {product.value}"
        f" divided by 100 is {value}."
    )
    return Problem(question + end, Worked(thinking, value))


def decimals(r: random.Random, end: str) -> Problem:
    places = r.choice([1, 1, 2])
    a, b = r.randint(1, 10 ** (places + 2)), r.randint(1, 10 ** (places + 2))
    sign = r.choice("+-")
    if sign == "-":
        a, b = max(a, b), min(a, b)
    worked = OPERATIONS[sign](a, b)
    parts = "tenths" if places == 1 else "hundredths"
    value = _decimal(worked.number, places)
    question = (
        r.choice(ASKED).format(f"{_decimal(a, places)} {sign} {_decimal(b, places)}").rstrip(" =")
    )
    thinking = f"In {parts}: {a} {sign} {b}. {worked.text} {worked.value} {parts} is {value}."
    return Problem(question + end, Worked(thinking, value))


def prime(r: random.Random, end: str) -> Problem:
    n = r.randint(2, 400)
    tried = [p for p in PRIMES if p * p <= n]
    divisor = next((p for p in tried if n % p == 0), None)
    if divisor:
        tried = tried[: tried.index(divisor) + 1]
    answer = (
        f"No, {n} is not prime: it is {divisor}*{n // divisor}."
        if divisor
        else f"Yes, {n} is prime."
    )
    steps = "; ".join(f"{n} divided by {p} leaves {n % p}" for p in tried) or "There is none to try"
    thinking = f"I try the primes whose square is at most {n}. {steps}."
    question = r.choice([f"Is {n} prime", f"Is {n} a prime number", f"is {n} prime"])
    return Problem(question + end, Worked(thinking, answer), whole=True)


def larger(r: random.Random, _end: str) -> Problem:
    whole = r.choice([(r.randint(1, 9999), r.randint(1, 9999)), None])
    if whole:
        a, b = str(whole[0]), str(whole[1])
        decided = ", which decides." if len(a) != len(b) else ". I compare from the left."
        thinking = f"{a} has {len(a)} digits and {b} has {len(b)}{decided}"
        value = str(max(whole))
    else:
        a, b, thinking, value = _close_decimals(r)
    question = r.choice(
        [
            f"Which is larger, {a} or {b}",
            f"Which is bigger: {a} or {b}",
            f"which is greater, {a} or {b}",
        ]
    )
    return Problem(f"{question}?", Worked(f"{thinking} The larger one is {value}.", value))


def sort(r: random.Random, end: str) -> Problem:
    numbers = [r.randint(0, 99) for _ in range(r.randint(3, 6))]
    ordered = [str(n) for n in sorted(numbers)]
    question = r.choice(["Sort these numbers: ", "Put in order: ", "sort "]) + ", ".join(
        map(str, numbers)
    )
    thinking = f"I take the smallest that is left each time: {', then '.join(ordered)}."
    return Problem(question + end, Worked(thinking, ", ".join(ordered)))


def long_sum(r: random.Random, end: str) -> Problem:
    numbers = [r.randint(1, 60) for _ in range(r.randint(3, 4))]
    total, steps = numbers[0], []
    for n in numbers[1:]:
        worked = add(total, n)
        steps.append(f"{total}+{n}: {worked.text}")
        total = worked.number
    listed = f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    return Problem(
        r.choice(["What is the sum of ", "Add up ", "sum of "]) + listed + end,
        Worked(" ".join(steps), total),
    )


def units(r: random.Random, end: str) -> Problem:
    factor, large, small = r.choice(UNITS)
    n = r.randint(2, 99)
    worked = (
        Worked(f"{n}*{factor} = {n * factor}.", n * factor)
        if factor in (100, 1000)
        else multiply(n, factor)
    )
    question = r.choice(
        [
            f"Convert {n} {large} to {small}",
            f"How many {small} are {n} {large}",
            f"{n} {large} in {small}",
        ]
    )
    thinking = f"One of them has {factor} {small}, so I need {n}*{factor}. {worked.text}"
    return Problem(question + end, Worked(thinking, worked.value), f" {small}")


def letters(r: random.Random, end: str) -> Problem:
    word = r.choice(SPELLED)
    letter = r.choice(word) if r.random() < 0.9 else r.choice("abcdefghijklmnopqrstuvwxyz")
    forms = (
        "How many {0}'s are in {1}",
        "How many {0}'s are there in {1}",
        "How many times does {0} appear in {1}",
        "how many {0} in {1}",
        "Count the letter {0} in {1}",
    )
    return Problem(r.choice(forms).format(letter, word) + end, counted_letters(word, letter))


def counted_letters(word: str, letter: str) -> Worked:
    """Return how often a word has a letter, with the count so far beside every letter."""
    count, written = 0, []
    for each in word:
        count += each == letter
        written.append(f"{each} {count}")
    return Worked(f"I count the letter {letter}: {', '.join(written)}. That is {count}.", count)


PUZZLES = (
    square_root,
    square,
    power,
    percent,
    decimals,
    prime,
    larger,
    sort,
    long_sum,
    units,
    letters,
)


def _decimal(n: int, places: int) -> str:
    """``n`` tenths or hundredths, written with a point."""
    digits = f"{n:0{places + 1}}"
    return f"{digits[:-places]}.{digits[-places:]}"


def _close_decimals(r: random.Random) -> tuple[str, str, str, str]:
    """One decimal against two after the same whole part, which is what models trip over: both, the
    comparison, the larger.
    """
    whole = r.randint(0, 20)
    short, long = r.randint(1, 9), r.randint(10, 99)
    order = (short, long) if r.random() < 0.5 else (long, short)
    a, b = (f"{whole}.{part}" for part in order)
    x, y = (int(f"{part}".ljust(2, "0")) for part in order)
    thinking = (
        f"The whole parts are equal. I write both with two decimals: {whole}.{x} and"
        f" {whole}.{y}. Of {x} and {y}, {max(x, y)} is larger."
    )
    return a, b, thinking, a if x >= y else b
