"""Powers and factorials."""

from __future__ import annotations

import random

from make_nano.arithmetic import Worked, counted_power
from make_nano.problems import Problem


def any_power(r: random.Random, end: str) -> Problem:
    base = r.randint(2, 12)
    most = next(n for n in range(2, 30) if base ** (n + 1) > 10**6)
    exponent = r.randint(2, min(most, 20))
    question = r.choice(
        [
            f"{base}^{exponent}",
            f"What is {base}^{exponent}",
            f"{base}**{exponent}",
            f"{base} to the power of {exponent}",
            f"What is {base} to the power of {exponent}",
            f"calculate {base} ^ {exponent}",
            f"{base} to the {exponent}th power",
        ]
    )
    return Problem(question + end, counted_power(base, exponent))


def factorial(r: random.Random, end: str) -> Problem:
    n = r.randint(0, 9)
    value, written = 1, []
    for factor in range(2, n + 1):
        written.append(f"{value}*{factor}={value * factor}")
        value *= factor
    question = r.choice(
        [
            f"{n}!",
            f"What is {n}!",
            f"{n} factorial",
            f"What is the factorial of {n}",
            f"the factorial of {n}",
            f"Calculate {n}!",
            f"compute {n}!",
        ]
    )
    thinking = f"I multiply 1 to {n}: {', '.join(written) or 'there is only 1'}."
    return Problem(question + (end if end != "." else "?"), Worked(thinking, value))
