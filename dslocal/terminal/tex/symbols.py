"""What TeX's names stand for, as Unicode. Data only."""

from __future__ import annotations

from string import ascii_uppercase
from typing import NamedTuple


def words(text: str) -> frozenset[str]:
    """Return the words of ``text``."""
    return frozenset(text.split())


def _table(text: str) -> dict[str, str]:
    """Return a table from words that are names and signs in turns."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


LETTERS = _table(
    """
    alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι
    kappa κ lambda λ mu μ nu ν xi ξ omicron ο pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς
    tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ
    Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω infty ∞ partial ∂ nabla ∇ hbar ħ ell ℓ Re ℜ Im ℑ
    aleph ℵ emptyset ∅ varnothing ∅ angle ∠ triangle △ square □ Box □ blacksquare ■ qed ∎ bot ⊥
    top ⊤ forall ∀ exists ∃ nexists ∄ neg ¬ lnot ¬ prime ′ degree ° circ ∘ dagger † ddagger ‡
    ldots … dots … cdots ⋯ vdots ⋮ ddots ⋱ dotsc … dotsb ⋯ checkmark ✓ star ⋆ bigstar ★
    diamond ⋄ Diamond ◇ clubsuit ♣ heartsuit ♥ spadesuit ♠ diamondsuit ♦ flat ♭ sharp ♯ imath ı
    jmath ȷ wp ℘ mho ℧ pounds £ euro € copyright © S § P ¶ AA Å ss ß ae æ oe œ o ø O Ø aa å R ℝ
    N ℕ Z ℤ Q ℚ C ℂ backslash \\ lbrace { rbrace } measuredangle ∡ complement ∁ surd √ % % $ $
    # # & & _ _ { { } }
    """
)
RELATIONS = _table(
    """
    = = < < > > le ≤ leq ≤ leqslant ≤ ge ≥ geq ≥ geqslant ≥ ne ≠ neq ≠ lt < gt > ll ≪ gg ≫
    approx ≈ equiv ≡ sim ∼ simeq ≃ cong ≅ propto ∝ doteq ≐ triangleq ≜ coloneqq ≔ in ∈ notin ∉
    ni ∋ subset ⊂ supset ⊃ subseteq ⊆ supseteq ⊇ subsetneq ⊊ nsubseteq ⊈ perp ⊥ parallel ∥
    nparallel ∦ mid ∣ nmid ∤ models ⊨ vdash ⊢ dashv ⊣ prec ≺ succ ≻ preceq ⪯ succeq ⪰ asymp ≍
    to → rightarrow → leftarrow ← gets ← leftrightarrow ↔ Rightarrow ⇒ Leftarrow ⇐
    Leftrightarrow ⇔ implies ⟹ impliedby ⟸ iff ⟺ longrightarrow ⟶ longleftarrow ⟵
    Longrightarrow ⟹ Longleftrightarrow ⟺ mapsto ↦ longmapsto ⟼ hookrightarrow ↪
    rightharpoonup ⇀ uparrow ↑ downarrow ↓ updownarrow ↕ Uparrow ⇑ Downarrow ⇓ nearrow ↗
    searrow ↘ rightleftharpoons ⇌ leadsto ⇝ therefore ∴ because ∵ trianglelefteq ⊴ lesssim ≲
    gtrsim ≳ nless ≮ ngtr ≯ nleq ≰ ngeq ≱ nmodels ⊭ sqsubseteq ⊑ bowtie ⋈ Vdash ⊩
    """
)
BINARIES = _table(
    """
    + + - - * * pm ± mp ∓ times × div ÷ cdot · ast ∗ cup ∪ cap ∩ setminus ∖ smallsetminus ∖
    land ∧ wedge ∧ lor ∨ vee ∨ oplus ⊕ ominus ⊖ otimes ⊗ odot ⊙ bullet • uplus ⊎ sqcup ⊔ sqcap ⊓
    amalg ⨿ ltimes ⋉ rtimes ⋊ bmod mod triangledown ▽
    """
)
# large operators
BIG = _table(
    """
    sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ bigcup ⋃ bigcap ⋂ bigoplus ⨁ bigotimes ⨂
    bigvee ⋁ bigwedge ⋀ bigsqcup ⨆
    """
)
OPENERS = _table(
    """
    ( ( [ [ { { lbrace { langle ⟨ lfloor ⌊ lceil ⌈ lvert | lVert ‖ lbrack [ llbracket ⟦ lgroup (
    """
)
CLOSERS = _table(
    """
    ) ) ] ] } } rbrace } rangle ⟩ rfloor ⌋ rceil ⌉ rvert | rVert ‖ rbrack ] rrbracket ⟧ rgroup )
    """
)
BARS = _table(
    """
    | ‖ vert | Vert ‖
    """
)
FUNCTIONS = words(
    """
    sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth log ln lg exp lim
    limsup liminf max min sup inf det dim ker gcd lcm deg arg hom Pr sgn mod rank tr Tr span
    argmax argmin erf sech csch varlimsup varliminf injlim projlim
    """
)
SPACES = {
    ",": " ",
    ":": " ",
    ";": " ",
    ">": " ",
    " ": " ",
    "!": "",
    "quad": "  ",
    "qquad": "    ",
    "enspace": " ",
    "thinspace": " ",
    "/": "",
}
# combining characters, each after the letter that it stands on
ACCENTS = {
    "hat": "\u0302",
    "widehat": "\u0302",
    "tilde": "\u0303",
    "widetilde": "\u0303",
    "bar": "\u0304",
    "overline": "\u0304",
    "vec": "\u20d7",
    "overrightarrow": "\u20d7",
    "dot": "\u0307",
    "ddot": "\u0308",
    "acute": "\u0301",
    "grave": "\u0300",
    "check": "\u030c",
    "breve": "\u0306",
    "mathring": "\u030a",
    "underline": "\u0332",
    "cancel": "\u0336",
    "bcancel": "\u0336",
    "xcancel": "\u0336",
}
# names that change how something looks, or that show nothing
IGNORED = words(
    """
    displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits left right middle big
    Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm hline nonumber notag rm
    bf it sf tt cal mathstrut strut allowbreak relax protect boldmath centering noindent smash
    mathop mathrel mathbin mathord mathopen mathclose mathpunct mathinner
    """
)
SUPERSCRIPTS = dict(
    zip(
        "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWβγδθφχ′∘*",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵝᵞᵟᶿᵠᵡ′°*",
        strict=True,
    )
)
SUBSCRIPTS = dict(
    zip(
        "0123456789+-=()aehijklmnoprstuvxβγρφχ",
        "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ",
        strict=True,
    )
)
# Unicode's blocks of these letters have holes where older characters exist.
DOUBLE_STRUCK = {
    **{letter: chr(0x1D538 + i) for i, letter in enumerate(ascii_uppercase)},
    **dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)),
    "1": "𝟙",
}
SCRIPT = {
    **{letter: chr(0x1D49C + i) for i, letter in enumerate(ascii_uppercase)},
    **dict(zip("BEFHILMR", "ℬℰℱℋℐℒℳℛ", strict=True)),
}
NEGATED = _table("= ≠ ∈ ∉ ⊂ ⊄ ⊆ ⊈ ≡ ≢ ≈ ≉ ∃ ∄ < ≮ > ≯ ≤ ≰ ≥ ≱ ∣ ∤ ∥ ∦ ∼ ≁ ≅ ≇ → ↛ ⇒ ⇏ ∋ ∌")


class TallBracket(NamedTuple):
    """The parts of a bracket beside several rows: ``middle`` is beside the middle row."""

    first: str
    between: str
    middle: str
    last: str


BRACKETS = {
    "(": TallBracket("⎛", "⎜", "⎜", "⎝"),
    ")": TallBracket("⎞", "⎟", "⎟", "⎠"),
    "[": TallBracket("⎡", "⎢", "⎢", "⎣"),
    "]": TallBracket("⎤", "⎥", "⎥", "⎦"),
    "{": TallBracket("⎧ ", "⎪ ", "⎨ ", "⎩ "),
    "}": TallBracket("⎫", "⎪", "⎬", "⎭"),
    "|": TallBracket("│", "│", "│", "│"),
    "‖": TallBracket("║", "║", "║", "║"),
}
