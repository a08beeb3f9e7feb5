"""Proves that mathematics as reasoning models write it is readable as Unicode, and that money, code
and slips are left alone.
"""

from __future__ import annotations

import random

import pytest

from dslocal.terminal.markdown.inline import flow, runs_of
from dslocal.terminal.markdown.layout import MarkdownLayout
from dslocal.terminal.markdown.stream import MarkdownStream
from dslocal.terminal.tex import to_unicode
from dslocal.terminal.tex.boxes import plain
from dslocal.terminal.wrapping import cells

LINES = [
    (r"\frac{1}{2}", "1/2"),
    (r"\frac{-b \pm \sqrt{b^2 - 4ac}}{2a}", "(-b ± √(b² - 4ac))/(2a)"),
    (r"x^2+y^2=z^2", "x² + y² = z²"),
    (r"\boxed{4042}", "⟦4042⟧"),
    (r"\boxed{\frac{3}{4}}", "⟦3/4⟧"),
    (r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}", "∑ᵢ₌₁ⁿ i = n(n + 1)/2"),
    (r"\sum_{k \in S} a_k", "∑_(k∈S) aₖ"),
    (r"\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}", "∫₀^∞ e^(-x²) dx = √π/2"),
    (r"\lim_{x \to 0} \frac{\sin x}{x} = 1", "lim_(x→0) (sin x)/x = 1"),
    (r"a_{n+1} = a_n + d", "aₙ₊₁ = aₙ + d"),
    (r"e^{i\pi} + 1 = 0", "e^(iπ) + 1 = 0"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "(1 2; 3 4)"),
    (r"\begin{bmatrix} a \\ b \end{bmatrix}", "[a; b]"),
    (r"\begin{vmatrix} a & b \\ c & d \end{vmatrix} = ad - bc", "|a b; c d| = ad - bc"),
    (
        r"f(x) = \begin{cases} x^2 & \text{if } x \geq 0 \\ -x & \text{otherwise} \end{cases}",
        "f(x) = {x², if x ≥ 0; -x, otherwise",
    ),
    (r"\begin{aligned} a &= b + c \\ &= d \end{aligned}", "a = b + c; = d"),
    (r"\left( \frac{a}{b} \right)^2", "(a/b)²"),
    (r"\left. \frac{dy}{dx} \right|_{x=0}", "dy/dx |ₓ₌₀"),
    (r"\sin^2\theta + \cos^2\theta = 1", "sin² θ + cos² θ = 1"),
    (r"\log_2 8 = 3", "log₂ 8 = 3"),
    (r"\ln(x) + \exp(y)", "ln(x) + exp(y)"),
    (r"A \cap B = \emptyset", "A ∩ B = ∅"),
    (r"A \subseteq B \iff A \cup B = B", "A ⊆ B ⟺ A ∪ B = B"),
    (r"\forall x \in \mathbb{R}, \exists y : x < y", "∀x ∈ ℝ, ∃y: x < y"),
    (r"f: A \to B", "f: A → B"),
    (r"\vec{v} \cdot \vec{w} = |v||w|\cos\theta", "v⃗ · w⃗ = |v||w| cos θ"),
    (r"\|x\| \le |x_1| + |x_2|", "‖x‖ ≤ |x₁| + |x₂|"),
    (r"47 \times 86 = 4042", "47 × 86 = 4042"),
    (r"90^\circ", "90°"),
    (r"25\,^{\circ}\text{C}", "25 °C"),
    (r"a \equiv b \pmod{n}", "a ≡ b (mod n)"),
    (r"17 \bmod 5 = 2", "17 mod 5 = 2"),
    (r"\gcd(12, 18) = 6", "gcd(12, 18) = 6"),
    (r"\binom{n}{k} = \frac{n!}{k!(n-k)!}", "C(n, k) = n!/(k!(n - k)!)"),
    (r"\text{Area} = \pi r^2", "Area = πr²"),
    (r"\text{speed} = \frac{\text{distance}}{\text{time}}", "speed = distance/time"),
    (r"\frac{dy}{dx}", "dy/dx"),
    (r"\frac{\partial f}{\partial x}", "∂f/∂x"),
    (r"\frac{d^2y}{dx^2}", "d²y/dx²"),
    (r"2\frac{1}{2}", "2 1/2"),
    (r"\dfrac{a+b}{c}", "(a + b)/c"),
    (r"\frac{\frac{a}{b}}{c}", "(a/b)/c"),
    (r"\frac{1}{x^2+1}", "1/(x² + 1)"),
    (r"\frac{x}{2y}", "x/(2y)"),
    (r"\tfrac12 x", "1/2 x"),
    (r"\sqrt{2}", "√2"),
    (r"\sqrt[3]{27} = 3", "∛27 = 3"),
    (r"\sqrt{x+1}", "√(x + 1)"),
    (r"x_{\text{max}}", "xₘₐₓ"),
    (r"F_{net}", "Fₙₑₜ"),
    (r"x_{i,j}", "x_(i,j)"),
    (r"f'(x) = 2x, f''(x) = 2", "f′(x) = 2x, f′′(x) = 2"),
    (r"\lfloor x \rfloor + \lceil y \rceil", "⌊x⌋ + ⌈y⌉"),
    (r"\overline{AB} \parallel \overline{CD}", "ĀB̄ ∥ C̄D̄"),
    (r"\hat{x} + \bar{y} = \tilde{z}", "x̂ + ȳ = z̃"),
    (r"-5 + (-3) = -8", "-5 + (-3) = -8"),
    (r"x = -5", "x = -5"),
    (r"3 \cdot (-2)", "3 · (-2)"),
    (r"P(A|B) = \frac{P(A \cap B)}{P(B)}", "P(A|B) = P(A ∩ B)/P(B)"),
    (r"\ce{2H2 + O2 -> 2H2O}", "2H₂ + O₂ → 2H₂O"),
    (r"10^{-3}\,\text{m}", "10⁻³ m"),
    (r"6.02 \times 10^{23}", "6.02 × 10²³"),
    (r"\prod_{k=1}^{n} k = n!", "∏ₖ₌₁ⁿ k = n!"),
    (r"\int_{a}^{b} f(x)\,dx", "∫ₐᵇ f(x) dx"),
    (r"\nabla \cdot \mathbf{E} = \frac{\rho}{\varepsilon_0}", "∇ · E = ρ/ε₀"),
    (r"\$5 + 7\%", "$5 + 7%"),
    (r"\max_{1 \leq i \leq n} x_i", "max_(1≤i≤n) xᵢ"),
    (r"A^T A^{-1}", "AᵀA⁻¹"),
    (r"\{1, 2, 3\}", "{1, 2, 3}"),
    (r"x \mapsto \sqrt{x+1}", "x ↦ √(x + 1)"),
    (r"1{,}000{,}000", "1,000,000"),
    (r"\operatorname{rank}(A) = 2", "rank(A) = 2"),
    (r"\underbrace{1+1}_{\text{two}}", "(1 + 1)_two"),
    (r"a \xrightarrow{k} b", "a ─k→ b"),
    (r"x \not= y", "x ≠ y"),
    (r"x \notin \mathbb{Z}", "x ∉ ℤ"),
    (r"\mathcal{O}(n \log n)", "𝒪(n log n)"),
    (r"\angle ABC = 60^\circ", "∠ABC = 60°"),
    (r"\triangle ABC \sim \triangle DEF", "△ABC ∼ △DEF"),
    (r"p \land q \implies \lnot r", "p ∧ q ⟹ ¬r"),
    (r"\alpha + \beta = \gamma", "α + β = γ"),
    (r"\therefore x = 3", "∴ x = 3"),
    (r"0.\overline{3}", "0.3̄"),
    (r"\color{red}{x} + y", "x + y"),
    (r"\unknown{a}{b} + \other x", "\\unknown{a}{b} + \\other x"),
    (r"x^{2n+1}", "x²ⁿ⁺¹"),
    (r"2^{2^n}", "2^(2ⁿ)"),
    (r"\frac{", "/()"),
    (r"{x", "x"),
    (r"x}}", "x"),
    (r"\begin{cases} a", "{a"),
    (r"^2", "²"),
    (r"\displaystyle\sum_{n=1}^\infty \frac{1}{n^2} = \frac{\pi^2}{6}", "∑ₙ₌₁^∞ 1/n² = π²/6"),
    (r"a_1, a_2, \ldots, a_n", "a₁, a₂, …, aₙ"),
    (r"\frac{3}{4} \div \frac{1}{2} = \frac{3}{2}", "3/4 ÷ 1/2 = 3/2"),
]
DRAWN = [
    (r"A = \begin{pmatrix} 1 & 2 \\ 3 & 40 \end{pmatrix} x", ["A = ⎛1   2⎞ x", "    ⎝3  40⎠"]),
    (r"\begin{cases} 1 & a \\ 2 & b \\ 3 & c \end{cases}", ["⎧ 1  a", "⎨ 2  b", "⎩ 3  c"]),
    (r"\begin{aligned} a &= b + c \\ &= d \end{aligned}", ["a = b + c", "  = d"]),
    (r"x = \boxed{4042}", ["    ┌──────┐", "x = │ 4042 │", "    └──────┘"]),
    (r"\boxed{\begin{bmatrix} 1 \\ 2 \end{bmatrix}}", ["┌─────┐", "│ ⎡1⎤ │", "│ ⎣2⎦ │", "└─────┘"]),
    (r"a = 1 \\[2pt] b = 2", ["a = 1", "b = 2"]),
    (r"x = 1", ["x = 1"]),
    ("", [""]),
]
TEXTS = [
    ("It costs $5 to $10.", "It costs $5 to $10."),
    ("US$5 and CA$6, $100k/year or $200k", "US$5 and CA$6, $100k/year or $200k"),
    ("from $5-$10, $5/$6", "from $5-$10, $5/$6"),
    ("I paid $5 (was US$).", "I paid $5 (was US$)."),
    ("$5 per month, $6 per year$", "$5 per month, $6 per year$"),
    ("$HOME/$USER, $PATH:$HOME", "$HOME/$USER, $PATH:$HOME"),
    (r"\$5 and \$6", "$5 and $6"),
    ("`$x$` and ``\\(x\\)``", "$x$ and \\(x\\)"),
    ("unclosed $x + 1", "unclosed $x + 1"),
    ("$ x $ with spaces", "$ x $ with spaces"),
    ("$", "$"),
    ("a $$ b", "a $$ b"),
    ("$x$ and $y_1$, $n-1$", "x and y₁, n - 1"),
    ("$3$ apples cost $5", "3 apples cost $5"),
    ("costs $5, so $x = 5$", "costs $5, so x = 5"),
    (r"$\$5 + \$6 = \$11$", "$5 + $6 = $11"),
    ("$2 + 3 = 5$", "2 + 3 = 5"),
    ("从 $a$ 到 $b$，共$n$个", "从 a 到 b，共n个"),
    (r"\(x^2\) and \( unclosed", "x² and ( unclosed"),
    (r"the answer is **\boxed{4042}**.", "the answer is ⟦4042⟧."),
    (r"\boxed{a, \{b\}} and", "⟦a, {b}⟧ and"),
    (r"\boxed{unclosed", r"\boxed{unclosed"),
    ("**$a_1 * b_1$** and *$c_1$*", "a₁ * b₁ and c₁"),
    ("[$x$](http://y)", "x (http://y)"),
]

WORDS = (
    "frac",
    "sqrt",
    "begin{pmatrix}",
    "end{pmatrix}",
    "begin{cases}",
    "end{x}",
    "text",
    "left(",
    "right.",
    "boxed",
    "not",
    "ce",
    "x",
)


@pytest.mark.parametrize(("source", "expected"), LINES)
def test_on_a_line(source: str, expected: str) -> None:
    assert plain(to_unicode.inline(source)) == expected


@pytest.mark.parametrize(("source", "expected"), DRAWN)
def test_drawn(source: str, expected: list[str]) -> None:
    rows = [plain(row) for row in to_unicode.display(source)]
    assert [row.rstrip() for row in rows] == expected
    assert len(set(map(cells, rows))) == 1


@pytest.mark.parametrize(("source", "expected"), TEXTS)
def test_in_text(source: str, expected: str) -> None:
    assert "".join(text for text, _ in runs_of(source)) == expected


def test_what_is_boxed_stands_out() -> None:
    styles = dict(runs_of(r"so $x = \boxed{4042}$"))
    assert styles["⟦4042⟧"] is not None
    assert styles["⟦4042⟧"].bold
    assert styles["x = "] is None


def test_a_formula_is_one_wherever_feeds_are_cut() -> None:
    text = (
        " ".join(source for source, _ in TEXTS if "unclosed" not in source)
        + "\n\n\\[ x = \\frac{1}{2} \\]\n\n$$\ny = 2\n$$\n"
    )

    def lines(parts: list[str]) -> list[str]:
        blocks, layout = MarkdownStream(), MarkdownLayout(70)
        pieces = [piece for part in parts for piece in blocks.feed(part)]
        return [
            "".join(text for text, _ in line)
            for line in layout.lay_out([*pieces, *blocks.finish()])
        ]

    whole = lines([text])
    assert whole[-3:] == ["  x = 1/2", "", "  y = 2"]
    for at in range(1, len(text)):
        assert lines([text[:at], text[at:]]) == whole


def test_any_text_is_read_without_an_error() -> None:
    """Proves that what is broken, deep or long is shown somehow, in time."""
    dice = random.Random(3)
    parts = [*list(r"{}[]&^_'$x1"), r"\\", *map("\\{}".format, WORDS)]
    for _ in range(1500):
        source = "".join(dice.choice(parts) for _ in range(dice.randint(1, 15)))
        assert "\n" not in to_unicode.inline(source)
        assert len({cells(plain(row)) for row in to_unicode.display(source)}) == 1, source
    assert to_unicode.inline("{" * 5000 + "x") == "{" * 5000 + "x"
    assert flow("$" + "x^" * 150 + "$")
