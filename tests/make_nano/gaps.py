"""Short Python functions with a line missing: fill-in-the-middle in DeepSeek's format."""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano import lexicon, markup

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

NAMED_OPERATIONS = (
    ("add", "+", "sum"),
    ("plus", "+", "sum"),
    ("total", "+", "sum"),
    ("sub", "-", "difference"),
    ("subtract", "-", "difference"),
    ("difference", "-", "difference"),
    ("mul", "*", "product"),
    ("multiply", "*", "product"),
    ("times", "*", "product"),
    ("product", "*", "product"),
    ("area", "*", "product"),
    ("div", "/", "quotient"),
    ("divide", "/", "quotient"),
    ("ratio", "/", "quotient"),
    ("mod", "%", "remainder"),
    ("remainder", "%", "remainder"),
    ("power", "**", "power"),
)
ONE_ARGUMENT = (
    ("square", "{0} * {0}"),
    ("cube", "{0} * {0} * {0}"),
    ("double", "2 * {0}"),
    ("half", "{0} / 2"),
    ("is_even", "{0} % 2 == 0"),
    ("is_odd", "{0} % 2 == 1"),
    ("negate", "-{0}"),
    ("increment", "{0} + 1"),
    ("decrement", "{0} - 1"),
    ("first", "{0}[0]"),
    ("last", "{0}[-1]"),
    ("length", "len({0})"),
    ("total", "sum({0})"),
    ("mean", "sum({0}) / len({0})"),
    ("average", "sum({0}) / len({0})"),
    ("largest", "max({0})"),
    ("smallest", "min({0})"),
    ("reverse", "{0}[::-1]"),
    ("upper", "{0}.upper()"),
    ("lower", "{0}.lower()"),
    ("is_empty", "len({0}) == 0"),
    ("identity", "{0}"),
    ("is_positive", "{0} > 0"),
    ("is_negative", "{0} < 0"),
    ("absolute", "abs({0})"),
    ("count", "len({0})"),
    ("words", "{0}.split()"),
    ("unique", "set({0})"),
)


def gap(r: random.Random) -> str:
    """Return a short piece of code with one line missing, of a kind that says what it must be."""
    lines, missing = r.choice(PIECES)(r)
    before = "".join(f"{line}\n" for line in lines[:missing])
    after = "".join(f"\n{line}" for line in lines[missing + 1 :])
    if r.random() < 0.3:  # inside a longer file
        before = "\n".join(_ahead(r)) + "\n\n\n" + before
    if r.random() < 0.2:
        after += "\n"
    return markup.gap(before, lines[missing], after)


def _ahead(r: random.Random) -> list[str]:
    """Return what may stand in front of a function."""
    name, x = lexicon.word(r), lexicon.word(r)
    return r.choice(
        [
            [f"import {lexicon.word(r)}"],
            [f"import {lexicon.word(r)}", f"from {lexicon.word(r)} import {lexicon.word(r)}"],
            [f"{lexicon.word(r).upper()} = {lexicon.number(r)}"],
            [f"def {name}({x}):", f"    return {x}"],
            [f'"""{lexicon.phrase(r).capitalize()}."""'],
        ]
    )


Piece = tuple[list[str], int]  # lines, and which of them is missing


def _names(r: random.Random) -> tuple[str, str, str]:
    """Return the names of a function and of two arguments: those of textbooks, or any."""
    if r.random() < 0.5:
        x, y = r.sample(ARGUMENTS, 2)
        return r.choice(FUNCTIONS), x, y
    return lexicon.word(r), f"{lexicon.word(r)}1", lexicon.word(r)


def _documented(r: random.Random) -> Piece:
    """An operation that the docstring names."""
    name, x, y = _names(r)
    operator, noun = r.choice(OPERATORS)
    lines = _operation(name, x, y, operator, noun, r.choice(RESULTS))
    return lines, r.choice([2, 2, 3])


def _returned(r: random.Random) -> Piece:
    """An operation that the docstring or the name of the function says, without a variable."""
    _, x, y = _names(r)
    name, operator, noun = r.choice(NAMED_OPERATIONS)
    body = f"    return {x} {operator} {y}"
    if r.random() < 0.5:
        return [f"def {name}({x}, {y}):", body], 1
    return [f"def {name}({x}, {y}):", f'    """Return the {noun} of {x} and {y}."""', body], 2


def _one_argument(r: random.Random) -> Piece:
    _, _, x = _names(r)
    name, body = r.choice(ONE_ARGUMENT)
    lines = [f"def {name}({x}):", "    return " + body.format(x)]
    if r.random() < 0.3:
        lines.insert(1, f'    """{name.replace("_", " ").capitalize()} of {x}."""')
    return lines, len(lines) - 1


def _compared(r: random.Random) -> Piece:
    name, x, y = _names(r)
    operator, adjective = r.choice([(">", "larger"), ("<", "smaller")])
    if r.random() < 0.4:
        name = "maximum" if operator == ">" else "minimum"
    return _extreme(name, x, y, operator, adjective), r.choice([2, 3, 4])


def _summed(r: random.Random) -> Piece:
    name = r.choice([r.choice(FUNCTIONS), "total", "sum_all"])
    return _loop(name, r.choice(RESULTS)), r.choice([2, 3, 4, 5])


def _stored(r: random.Random) -> Piece:
    """A constructor that stores its arguments."""
    names = list(dict.fromkeys(lexicon.word(r) for _ in range(r.randint(1, 4))))
    lines = [
        f"class {lexicon.word(r).capitalize()}:",
        f"    def __init__(self, {', '.join(names)}):",
    ]
    lines += [f"        self.{name} = {name}" for name in names]
    return lines, r.randrange(2, len(lines))


def _variable(r: random.Random) -> Piece:
    """What was computed is returned, or what is returned is computed."""
    name, x, _ = _names(r)
    result = r.choice([*RESULTS, lexicon.word(r)])
    call = r.choice(["len", "sum", "max", "min", "sorted", "abs", "str", "list", lexicon.word(r)])
    lines = [f"def {name}({x}):", f"    {result} = {call}({x})", f"    return {result}"]
    return lines, 2


def _filtered(r: random.Random) -> Piece:
    name, x, _ = _names(r)
    what, test = r.choice(
        [("even", "% 2 == 0"), ("odd", "% 2 == 1"), ("positive", "> 0"), ("negative", "< 0")]
    )
    lines = [
        f"def {r.choice([what, name])}({x}):",
        f'    """Return the {what} ones of {x}."""',
        f"    return [item for item in {x} if item {test}]",
    ]
    return lines, 2


def _entries(r: random.Random) -> Piece:
    """A series of lines that are made alike: imports, keys, branches."""
    words = list(dict.fromkeys(lexicon.word(r) for _ in range(r.randint(3, 5))))
    form = r.choice(
        [
            '{0} = get("{0}")',
            '    "{0}": {0},',
            "        self.{0} = {0}",
            "    {0}={0},",
            'print("{0}", {0})',
            "    {0} = args.{0}",
        ]
    )
    lines = [form.format(word) for word in words]
    missing = r.randrange(1, len(lines))
    # which word comes is said ahead
    return [f"# {', '.join(words)}", *lines], missing + 1


def _guarded(r: random.Random) -> Piece:
    name, x, y = _names(r)
    lines = [
        f"def {name}({x}, {y}):",
        f"    if {y} == 0:",
        "        return None",
        f"    return {x} / {y}",
    ]
    return lines, 3 if r.random() < 0.6 else 2


def _main(r: random.Random) -> Piece:
    name = r.choice(["main", "run"])
    lines = [
        f"def {name}():",
        f'    print("{lexicon.phrase(r)}")',
        "",
        "",
        'if __name__ == "__main__":',
        f"    {name}()",
    ]
    return lines, 5


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


PIECES: tuple[Callable[[random.Random], Piece], ...] = (
    _documented,
    _documented,
    _documented,
    _returned,
    _returned,
    _one_argument,
    _one_argument,
    _compared,
    _compared,
    _summed,
    _stored,
    _variable,
    _filtered,
    _entries,
    _guarded,
    _main,
)
