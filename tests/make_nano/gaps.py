"""Short Python functions with a line missing: fill-in-the-middle in DeepSeek's format."""

from __future__ import annotations

import random

from make_nano import markup

FUNCTIONS = (
    "add",
    "area",
    "total",
    "scale",
    "mean",
    "shift",
    "combine",
    "compute",
    "value",
    "result",
    "calc",
    "apply",
    "merge",
    "update",
)
ARGUMENTS = (
    "a",
    "b",
    "x",
    "y",
    "n",
    "m",
    "left",
    "right",
    "width",
    "height",
    "first",
    "second",
    "price",
    "rate",
    "count",
    "size",
)
RESULTS = ("result", "out", "value", "total", "ans", "res")
OPERATORS = (
    ("+", "sum"),
    ("-", "difference"),
    ("*", "product"),
    ("/", "quotient"),
    ("%", "remainder"),
)


def gap(r: random.Random) -> str:
    """A function whose docstring says what the missing line must do."""
    name = r.choice(FUNCTIONS)
    x, y = r.sample(ARGUMENTS, 2)
    operator, noun = r.choice(OPERATORS)
    result = r.choice(RESULTS)
    kind = r.random()
    if kind < 0.6:
        lines = _operation(name, x, y, operator, noun, result)
        missing = r.choice([2, 2, 3])
    elif kind < 0.8:
        lines = _extreme(name, x, y, *r.choice([(">", "larger"), ("<", "smaller")]))
        missing = r.choice([2, 3, 4])
    else:
        lines = _loop(name, result)
        missing = r.choice([2, 3, 4, 5])
    before = "".join(f"{line}\n" for line in lines[:missing])
    after = "".join(f"\n{line}" for line in lines[missing + 1 :])
    return markup.gap(before, lines[missing], after)


def _operation(name: str, x: str, y: str, operator: str, noun: str, result: str) -> list[str]:
    return [
        f"def {name}({x}, {y}):",
        f'    """Return the {noun} of {x} and {y}."""',
        f"    {result} = {x} {operator} {y}",
        f"    return {result}",
    ]


def _extreme(name: str, x: str, y: str, operator: str, adjective: str) -> list[str]:
    return [
        f"def {name}({x}, {y}):",
        f'    """Return the {adjective} of {x} and {y}."""',
        f"    if {x} {operator} {y}:",
        f"        return {x}",
        f"    return {y}",
    ]


def _loop(name: str, result: str) -> list[str]:
    return [
        f"def {name}(items):",
        '    """Return the sum of items."""',
        f"    {result} = 0",
        "    for item in items:",
        f"        {result} += item",
        f"    return {result}",
    ]
