"""Proves which final answers count as the same and which do not, that hostile ones cost no time,
and how votes are counted.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.timing import at_most

from dslocal.evaluation.equivalence import Vote, is_equivalent, vote

EQUAL = [
    # numbers
    ("4042", "4042"), ("4042", " 4042. "), ("1,000", "1000"), ("1{,}000", "1000"),
    ("1\\,000", "1000"), ("1 000 000", "1,000,000"), ("12,345.50", "12345.5"),
    ("３，０００", "3000"),
    ("+5", "5"), ("--5", "5"), ("−5", "-5"), ("3.0", "3"), (".5", "0.5"), ("007", "7"),
    ("1/2", "0.5"), ("1/2", "\\frac{1}{2}"), ("\\dfrac12", "\\tfrac{1}{2}"),
    ("\\frac{2}{4}", "\\frac 1 2"), ("½", "1/2"), ("x²", "x^2"), ("-\\frac{1}{2}", "\\frac{-1}{2}"),
    ("1\\frac{1}{2}", "3/2"), ("1 1/2", "1.5"), ("2½", "5/2"), ("-1\\frac12", "-1.5"),
    ("1.2 \\times 10^3", "1200"), ("1.2e3", "1200"), ("5 \\cdot 10^{-2}", "0.05"),
    ("10^{100}", "10^{99} \\cdot 10"), ("2^{10}", "1024"), ("50\\%", "50%"), ("50 \\%", "0.5"),
    ("50 percent", "\\frac12"), ("0.\\overline{3}", "\\frac13"), ("0.1\\overline{6}", "1/6"),
    # wrappers
    ("\\boxed{5}", "5"), ("$5$", "5"), ("\\(5\\)", "5"), ("\\[ \\frac{1}{3} \\]", "1/3"),
    ("\\text{5}", "5"), ("\\mathbf{5}", "5"), ("\\left( 1, 2 \\right)", "(1,2)"),
    ("\\displaystyle 5", "5"), ("\\boxed{x = \\boxed{3}}", "3"), ("{5}", "5"), ("(5)", "5"),
    # units
    ("5\\text{ cm}", "5"), ("5 cm", "5\\,\\mathrm{cm}"), ("5 centimeters", "5 cm"),
    ("12\\text{ cm}^2", "12 square centimeters"), ("90^\\circ", "90"), ("90°", "90 degrees"),
    ("\\$5", "5"), ("$5", "5 dollars"), ("\\$1{,}200.50", "1200.5"), ("60 km/h", "60 km per hour"),
    ("5 apples", "5"), ("5厘米", "5 cm"), ("5个", "5"), ("1010_2", "1010_{2}"), ("17_{10}", "17"),
    ("3\\text{ m}", "3 meters"),
    # labels, lists, sets, pairs, intervals
    ("x = 5", "5"), ("x=5", "x = 5"), ("f(x) = 2x + 1", "1 + 2x"), ("y = 2x+1", "y - 2x = 1"),
    ("5 = x", "x = 5"), ("2 + 3 = 5", "5"), ("x = \\frac{6}{2} = 3", "3"),
    ("(x, y) = (1, 2)", "(1,2)"), ("\\approx 3.14", "3.14"), ("x \\in [1, 2)", "[1,2)"),
    ("\\{1,2\\}", "\\{2, 1\\}"), ("1, 2", "2 \\text{ and } 1"), ("x = 1 \\text{ or } x = 2", "1,2"),
    ("\\{1,1,2\\}", "1,2"), ("\\pm 3", "3, -3"), ("x = 1 \\pm \\sqrt2", "1+\\sqrt{2}, 1-\\sqrt{2}"),
    ("\\left\\{\\frac12\\right\\}", "\\{0.5\\}"), ("1、2", "2，1"), ("(\\frac12, 3)", "(0.5,3)"),
    ("[0, \\infty)", "\\left[0,+\\infty\\right)"),
    ("(-\\infty,1)\\cup(2,3)", "(2,3) \\cup (-\\infty, 1)"), ("x > 5", "5 < x"),
    ("1 < x \\leq 3", "3 \\ge x > 1"), ("\\varnothing", "\\emptyset"), ("\\{\\}", "∅"),
    ("2:3", "2 : 3"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
     "\\begin{bmatrix} 1 & \\frac{4}{2} \\\\ 3 & 4 \\end{bmatrix}"),
    # symbols
    ("\\frac{\\sqrt2}{2}", "\\frac{1}{\\sqrt{2}}"), ("\\sqrt{12}", "2\\sqrt 3"),
    ("√2", "\\sqrt{2}"), ("\\sqrt[3]{16}", "2\\sqrt[3]{2}"), ("\\sqrt{-4}", "2i"),
    ("\\frac{1}{1+\\sqrt2}", "\\sqrt2 - 1"), ("2\\pi", "2π"), ("\\frac{\\pi}{2}", "0.5\\pi"),
    ("4\\sqrt\\pi", "\\sqrt{16\\pi}"), ("x^2+2x+1", "(x+1)^2"), ("\\frac{x^2-1}{x-1}", "x+1"),
    ("2x", "x \\cdot 2"), ("\\frac{1}{x-1}-\\frac1{x+1}", "\\frac{2}{x^2-1}"),
    ("2^{n+1}", "2 \\cdot 2^n"), ("4^n", "2^{2n}"), ("e^{2x}", "(e^x)^2"), ("\\ln 8", "3\\ln 2"),
    ("\\log_2 8", "3"), ("\\log 100", "2"), ("5!", "120"), ("\\binom{5}{2}", "10"), ("|-3|", "3"),
    ("\\sin 2x", "\\sin(2x)"), ("i^2", "-1"), ("(1+i)^2", "2i"), ("x_1+x_{2}", "x_2+x_1"),
    # choices, words, remainders
    ("(A)", "A"), ("\\text{(B)}", "B."), ("\\textbf{(C)}\\ 12", "(C)"), ("(C) 12", "12"),
    ("(d)", "D"), ("选项A", "A"), ("Paris", "paris."), ("\\text{Yes}", "yes"), ("the cat", "Cat"),
    ("New  York", "\\text{new york}"), ("是", "是。"), ("5 remainder 3", "5 R 3"),
    ("5\\text{ remainder }3", "5 r3"), ("5余3", "5 remainder 3"), ("5……3", "5 R3"),
]  # fmt: skip

UNEQUAL = [
    ("1/2", "2"), ("0.333", "1/3"), ("12", "1,2"), ("(1,2)", "(2,1)"), ("\\{1,2\\}", "\\{1,2,3\\}"),
    ("-5", "5"), ("10^{100}", "10^{101}"), ("3 cm", "3 m"), ("12 cm", "12 cm^2"), ("\\$5", "€5"),
    ("90°", "90 cm"), ("1010_2", "1010_3"), ("5 apples", "5 pears"), ("50%", "50"), ("50%", "5"),
    ("1,000", "1"), ("1,000", "1.000"), ("(1,000)", "(1,0)"), ("(100,200)", "100200"),
    ("1\\frac12", "1/2"), ("3.14", "\\pi"), ("\\sqrt2", "1.41421356"), ("\\sqrt2", "2"),
    ("\\sqrt{3}", "\\sqrt[3]{3}"), ("0.1\\overline{6}", "0.16"), ("1.2e3", "1.2e4"),
    ("2^{10}", "2^{11}"), ("9999999999999999", "10000000000000000"), ("1/3", "0.3333333333333333"),
    ("x=5", "y=5"), ("x = 5", "6"), ("2x = 10", "10"), ("x + y = 3", "3"), ("x = 6/2 = 4", "4"),
    ("2 + 3 = 6", "6"), ("x=1,y=2", "x=2,y=1"), ("(1,2)", "[1,2]"), ("[1,2)", "(1,2]"),
    ("\\{1,2\\}", "(1,2)"), ("1,2", "1,2,2"), ("1,1", "1"), ("\\pm 3", "3"), ("x > 5", "x < 5"),
    ("x > 5", "x \\ge 5"), ("x \\ne 5", "5"), ("(1,2)\\cup(3,4)", "(1,2)"), ("2:3", "3:2"),
    ("\\emptyset", "0"), ("\\infty", "-\\infty"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"), ("x^2", "2x"), ("x^2", "x2"),
    ("(x+1)^2", "x^2+1"), ("\\sin x", "\\cos x"), ("\\ln 2", "\\log 2"), ("2^n", "n^2"), ("x", "X"),
    ("e", "2.718"), ("\\frac{x}{y}", "\\frac{y}{x}"), ("\\sqrt{x^2}", "x"), ("-2^2", "4"),
    ("5!", "5"), ("n!", "n"), ("x_1", "x_2"), ("1/0", "2/0"), ("(A)", "B"), ("(C) 12", "(D) 12"),
    ("(C) 12", "13"), ("yes", "no"), ("Paris", "London"), ("no", "on"), ("east", "seat"), ("", "0"),
    ("5 remainder 3", "5"), ("5 remainder 3", "3 remainder 5"), ("5 R 3", "5.375"),
    ("5", "\\text{none}"), ("Lima", "5"),
]  # fmt: skip

DEEP = "{" * 10_000 + "1" + "}" * 10_000
HOSTILE = [
    "9^9^9^9", "9^{9^{9^9}}", "2^{100000000}", "x^{99999999999}", "1e9999", "10^{-99999}",
    "1" * 10**6, "1," * 10**5, DEEP, "(" * 10**5, "(" * 900, "\\frac" * 200, "\\frac{1}{" * 100,
    "\\frac{" * 90 + "1" + "}{1}" * 90, "\\sqrt" * 190, "\\sqrt{" * 150, "-" * 900, "\\sin" * 240,
    "2^" * 450, "|" * 900, "\\{" * 450, "(1," * 330, "\\{1," * 200 + "1" + "\\}" * 200,
    "\\{" + "1," * 450 + "1\\}", "(x+y+z+w+v+u+t)^{64}", "(x+1)^{64}" * 90, "500!" * 200,
    "500!^{64}", "((((1+x)^9)^9)^9)^9", "\\sqrt{" + "9" * 900 + "}",
    "\\sqrt{" + str(2**255 - 19) + "}" * 1, "\\ln{7^{2000}}",
    "+".join(f"\\sqrt{{{n}}}" for n in range(2, 80)),
    "*".join(f"(1+\\sqrt{{{n}}})" for n in range(2, 60)), "\\pm" * 300, "=" * 1000, "1=" * 500,
    "\ufdfa" * 1000, "½" * 900, "²" * 900, "1 " * 500, "1,000" * 200, "\\text{" * 160,
    "\\text{a}" * 140, "\\boxed{" * 10**5, "$" * 1001, ":" * 1000, "a" * 1000, "_{" * 500,
    "\\begin{matrix}" + "&" * 900 + "\\end{matrix}", "\\begin{matrix}" * 60, "\0" * 999,
    "\ud800" * 500, "." * 10**5, " ." * 490, "1.2.3", "5 remainder " * 80, "\\overline" * 110,
    "0.\\overline{" + "3" * 900 + "}", "\\log_{1}{5}", "0^0", "0^{-1}", "\\frac10", "()", "\\",
    "{}", "\\{\\{" + ",".join("123456789") * 40 + "\\}\\}", "1/(1/(1/(" * 60, "i^{i^{i}}",
    "\\sqrt[0]{2}", "\\sqrt[99]{2}", "\\sqrt[x]{2}", "x'" * 400, "1\\frac{1}" + "{" * 10,
    "\u0661\u0662", "１²³", "\\%" * 400, "5 " + "a" * 990, "\\{" + "x," * 300 + "\\}",
    "__import__('os').system('x')",
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal(a: str, b: str) -> None:
    assert is_equivalent(a, b)
    assert is_equivalent(b, a)


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_unequal(a: str, b: str) -> None:
    assert not is_equivalent(a, b)
    assert not is_equivalent(b, a)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_is_compared(text: str) -> None:
    assert is_equivalent(text, text)
    for other in ("5", text + "1", text[::-1]):
        assert is_equivalent(text, other) == is_equivalent(other, text)


@pytest.mark.timed
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_takes_no_time(text: str) -> None:
    with at_most(5):
        test_hostile_text_is_compared(text)


FRACTIONS = st.builds(Fraction, st.integers(-(10**9), 10**9), st.integers(1, 10**6))
FORMS = st.sampled_from(
    [
        "{n}/{d}",
        "\\frac{{{n}}}{{{d}}}",
        "\\dfrac {{{n}}} {{{d}}}",
        "{n} \\div {d}",
        "$\\frac{{{n}}}{{{d}}}$",
        "({n})/{d}",
    ]
)
SCALE = st.integers(1, 1000)


def spelled(value: Fraction, form: str, scale: int) -> str:
    return form.format(n=value.numerator * scale, d=value.denominator * scale)


@given(FRACTIONS, FORMS, FORMS, SCALE)
def test_a_fraction_is_itself_in_every_form(
    value: Fraction, one: str, other: str, scale: int
) -> None:
    assert is_equivalent(spelled(value, one, 1), spelled(value, other, scale))
    assert is_equivalent(spelled(value, one, scale), f"\\sqrt{{2}} \\cdot ({value}) / \\sqrt2")
    if value.denominator == 1:
        assert is_equivalent(spelled(value, one, scale), f"{value.numerator:,}")


@given(FRACTIONS, FRACTIONS, FORMS, FORMS, SCALE)
def test_fractions_that_differ_are_never_equal(
    a: Fraction, b: Fraction, one: str, other: str, scale: int
) -> None:
    assert is_equivalent(spelled(a, one, 1), spelled(b, other, scale)) == (a == b)
    assert not is_equivalent(spelled(a, one, scale), spelled(a + Fraction(1, 10**40), other, 1))


@given(st.integers(-(10**12), 10**12), st.integers(0, 12))
def test_decimals_are_exact(digits: int, places: int) -> None:
    value = Fraction(digits, 10**places)
    sign, digits_alone = "-" if digits < 0 else "", f"{abs(digits):0{places + 1}d}"
    split = len(digits_alone) - places
    point = f"{sign}{digits_alone[:split]}.{digits_alone[split:]}"
    assert is_equivalent(point, str(value))
    assert is_equivalent(f"{point}\\%", str(value / 100))
    assert is_equivalent(f"{digits} \\times 10^{{-{places}}}", point)
    assert not is_equivalent(point + "1", point)


PIECES = st.sampled_from(
    [
        *"0123456789abxyAB+-*/^_(){}[],.%!|=<>:$ ",
        "\\frac",
        "\\sqrt",
        "\\pm",
        "\\{",
        "\\}",
        "\\text{",
        "\\le",
        "余",
        "２",
        "½",
    ]
)
ANYTHING = st.one_of(
    st.text(max_size=40),
    st.lists(PIECES, max_size=25).map("".join),
    st.sampled_from([a for pair in EQUAL for a in pair]),
)


@given(ANYTHING, ANYTHING)
def test_any_text_equals_itself_and_the_order_does_not_matter(a: str, b: str) -> None:
    assert is_equivalent(a, a)
    assert is_equivalent(a, b) == is_equivalent(b, a)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["1/2", "2", "0.5", None], Vote("1/2", 2, 4)),
        (["2", "\\frac12", "50\\%", "1/2"], Vote("\\frac12", 3, 4)),
        (["5", None, None, None], Vote("5", 1, 4)),
        (["1", "2", "1", "2"], Vote(None, 2, 4)),
        (["1", "2"], Vote(None, 1, 2)),
        (["3", "1", "2", "3"], Vote("3", 2, 4)),
        ([None, None], Vote(None, 0, 2)),
        ([], Vote(None, 0, 0)),
    ],
)
def test_vote(answers: list[str | None], expected: Vote) -> None:
    assert vote(answers) == expected


def test_a_vote_of_many_hostile_answers() -> None:
    counted = vote([*(f"(x+{n})^{{9}}" for n in range(100)), *HOSTILE, "5", "5.0", "5 cm"])
    assert counted == Vote("5", 3, 103 + len(HOSTILE))


@pytest.mark.timed
def test_a_vote_of_many_hostile_answers_takes_no_time() -> None:
    with at_most(20):
        test_a_vote_of_many_hostile_answers()
