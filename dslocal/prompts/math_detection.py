r"""Decide whether a question is mathematical.

R1's model card recommends a directive for such questions: to reason step by step, and to put the
answer within ``\boxed{}``. A directive where none belongs does more harm than a missing one. So a
doubtful question counts as not mathematical, and so does a proof, which has no answer to box.

Refused is a question that is longer than a page, has ``\boxed`` already, looks like code, a log, a
date or a telephone number, or has a word of another trade (:mod:`.math_words`). Of the others, a
question is mathematical if it

1. is a calculation: numbers, operations and courtesies alone, such as "Hey, what is 47 × 86?";
2. has a formula and a task: a verb that works on it, or "what is" and symbols; or is an equation in
   x, y or z;
3. asks for a mathematical thing of numbers: one where only mathematics knows the thing (a
   remainder), or the verb is to calculate, two where ordinary speech has it as well (an area);
4. tells a story with numbers, then asks how many, and is not about the asker's own life.

The patterns take a while to compile, so this module is imported when a question is asked.
"""

from __future__ import annotations

import re

from . import math_words as w
from .language import IDEOGRAPHS

MAX_LENGTH = 3000  # characters of a question, about a page


# ---- refused

_CODE_LOG_OR_DATE = re.compile(
    r"""
      \\boxed | ``` | :// | @\w | </ | [=!]= | \+= | => | -> | ;\s*$ | \(\) | ::
    | \d{4}-\d\d?-\d\d? | \b\d\d?/\d\d?/\d\d | \d\d:\d\d:\d\d   # dates, times
    | (?<!\d)\d{3}-(?:\d{3}-)?\d{4}(?!\d)                       # telephone numbers
    | \d\.\d+\.\d                                               # versions
    | \b(?:ERROR|WARN|WARNING|INFO|DEBUG|Traceback|Exception)\b
    | \b(?i:what\sis|what's|whats)\s(?:9/11|24/7|50/50|80/20|4/20)\b
    """,
    re.VERBOSE | re.MULTILINE,
)
_OTHER_TRADE = re.compile(
    w.any_of(w.OTHER_TRADES, w.OTHER_TRADES_CHINESE)
    + rf"|^\W*(?:{'|'.join(w.OTHER_BEGINNINGS.split())})\b",
    re.IGNORECASE,
)
# a last sentence that says how to answer
_MANNER = re.compile(
    r"""
    (?:
      show\s(?:all\s)?(?:your|the)\s(?:work\w*|steps)
    | explain(?:\s(?:your|the)\s(?:answer|reasoning|steps|work\w*))?
    | think\sstep\sby\sstep | step\sby\sstep | 请?一步一步\w*
    | just\sthe\s(?:number|answer|result) | answer\sbriefly
    | be\s(?:careful|brief|precise|quick) | thanks | thank\syou
    | (?:give|round)\s[^.?!]{0,40}
      \b(?:decimal|decimals|places|fraction|integer|cent|tenth|hundredth)\b[^.?!]{0,20}
    )
    \s*[.!。！]*\s*$
    """,
    re.VERBOSE | re.IGNORECASE,
)

# ---- calculations

_CHINESE_WORDS = "|".join(
    sorted(
        (word for word in w.COURTESIES | w.OPERATIONS | w.FUNCTIONS if not word.isascii()),
        key=len,
        reverse=True,
    )
)
_PIECE = re.compile(
    rf"""
      (?P<number> \d+(?:,\d{{3}})*(?:\.\d+)? | π )
    | (?P<word> [A-Za-z]+(?:'[a-z]+)? | {_CHINESE_WORDS} )
    | (?P<chinese> [零一二两三四五六七八九十百千万]+ )
    | (?P<sign> \*\* | [-+*/×÷^%−–·√²³!=<>⋅∗] )
    | (?P<bracket> [()\[\]（）] )
    | (?P<other> [\s?？.。,，:：!！]+ )
    | (?P<strange> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_RANGE = re.compile(r"\s*\d[\d.,]*(?:[-/x–]\d[\d.,]*)+\s*[?？.!]*\s*")  # 24/7, 1-2, 3x4
_NUMBERS_IN_A_ROW = re.compile(r"\d\s+\d")
_WORKS_ON = re.compile(r"\b(?:add|subtract|multiply|divide)\b", re.IGNORECASE)
_THAT = re.compile(r"\b(?:it|that)\b")

# ---- formulas and tasks

_OPERAND = r"(?:\d+(?:\.\d+)?\s?[a-z]?|[a-z])"
_FORMULA = re.compile(
    rf"""
      \\(?:frac|int|sum|sqrt|lim|prod|binom|cdot|times|div|log|sin|cos|tan|pi)
    | \\begin\{{[bp]?matrix
    | \$[^$\n]{{0,200}}[\\^=+*<>][^$\n]{{0,200}}\$
    | \b{_OPERAND}(?:\^|\*\*)\(?-?{_OPERAND}                             # x^2
    | \b[a-z][²³]
    | \b(?:sin|cos|tan|ln|log|sqrt|exp)\s?\(?\s?[\dxyzt]
    | \b[fgh]\([xyzt]\)
    | (?<![\w.-]){_OPERAND}\s*[-+*×÷−]\s*{_OPERAND}(?![\w])(?:[^=\n]{{0,80}}=)?
    | (?<![\w.-])\d+(?:\.\d+)?\s*[-+*/×÷−]\s*\(?\d                       # 3 * (4
    | \d\)\s*[-+*/×÷^] | √
    | (?<![\w.])\d+(?:\.\d+)?[xyz]\s*[=<>≤≥]                             # 3x =
    """,
    re.VERBOSE,
)
_TERMS = r"[\dxyz\s.+*/^²³()−-]"
_EQUATION = re.compile(
    rf"\s*[-\d(]?{_TERMS}*(?:\d[xyz]|[xyz](?:\^|[²³])){_TERMS}*={_TERMS}+[?？]?\s*"
)
_TASK = re.compile(
    w.any_of(w.FORMULA_TASKS, w.FORMULA_TASKS_CHINESE)
    + r"|^\s*(?:\$|\\\(|\\\[|\\int|\\sum|\\frac|\\lim)",
    re.IGNORECASE,
)
_WONDERS = re.compile(w.any_of(w.WONDERING), re.IGNORECASE)
_SYMBOL = re.compile(
    r"\\[a-z]|\b(?:sin|cos|tan|ln|log|sqrt|exp)\b|\b\d*[b-hj-z]\b"  # not "a", not "I"
)

# ---- mathematical things

_ASKS = re.compile(w.any_of(w.ASKING, w.ASKING_CHINESE), re.IGNORECASE)
_COMPUTES = re.compile(w.any_of(w.COMPUTING, w.COMPUTING_CHINESE), re.IGNORECASE)
_ONLY_MATHEMATICS = re.compile(
    w.any_of(w.ONLY_MATHEMATICS, w.ONLY_MATHEMATICS_CHINESE), re.IGNORECASE
)
_ALSO_MATHEMATICS = re.compile(
    w.any_of(w.ALSO_MATHEMATICS, w.ALSO_MATHEMATICS_CHINESE), re.IGNORECASE
)

# ---- stories

_QUANTITY = re.compile(
    rf"""
      (?<![\w.\-/$#:]) \$?\d+(?:,\d{{3}})*(?:\.\d+)?
      (?=(?:%|°|[ap]m|km|kg|cm|mm|mph|m|g|s|h|l)?(?![\w:]|\.\d|-\d)) (?!\s*年)
    | (?<=[{IDEOGRAPHS}]) \d+(?:\.\d+)? (?=[{IDEOGRAPHS}%]|[^\w:/.\-]|$) (?!\s*年)
    | (?<![\w.]) \d+(?:\.\d+)? (?=[{IDEOGRAPHS}]) (?!\s*年)
    | \b(?:{"|".join(w.NUMBER_WORDS.split())})\b
    | [两三四五六七八九十百千]+ (?=[{w.COUNTERS_CHINESE}])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")
_HOW_MANY = re.compile(
    rf"""
      \b(?:how[ ](?:many|much|far|long|old|fast|tall|heavy)
         | what[ ](?:is|was|are)[ ](?:the|his|her|their|its)[ ](?:\w+[ ]){{0,2}}
           (?:{"|".join(w.MEASURES.split())}))\b
    | {"|".join(w.HOW_MANY_CHINESE.split())}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HOW_MANY_IF = re.compile(r"how (?:many|much)\b.*\bif\b", re.IGNORECASE | re.DOTALL)
_CLAUSE_END = re.compile(r"[.,;:!。，；：！]")
_OWN_LIFE = re.compile(w.any_of(w.OWN_LIFE, w.OWN_LIFE_CHINESE), re.IGNORECASE)


def is_mathematical(question: str) -> bool:
    """Return whether ``question`` asks for a result that mathematics gives.

    Args:
        question: The question, without the files that go with it.
    """
    if len(question) > MAX_LENGTH or _CODE_LOG_OR_DATE.search(question):
        return False
    asked = _without_manner(question)
    if _OTHER_TRADE.search(asked):
        return False
    return (
        _is_calculation(asked)
        or _has_formula_and_task(asked)
        or _wants_thing(asked)
        or _is_story(asked)
    )


def _without_manner(question: str) -> str:
    """Return ``question`` without sentences at its end such as "Show your work. Thanks!"."""
    while True:
        shorter = _MANNER.sub("", question)
        if shorter == question:
            return question
        question = shorter


def _is_calculation(question: str) -> bool:
    """Return whether ``question`` is nothing but numbers, operations and courtesies."""
    counts = _count_pieces(question)
    if counts is None or _NUMBERS_IN_A_ROW.search(question):
        return False
    if not counts["courtesy"] and _RANGE.fullmatch(question):
        return False
    numbers = counts["number"]
    operations = counts["operation"] + counts["function"]
    if numbers >= 2 and operations:
        return True
    works_on_that = _WORKS_ON.search(question) and _THAT.search(question)
    return numbers >= 1 and bool(counts["function"] or works_on_that)


def _count_pieces(question: str) -> dict[str, int] | None:
    """Return how many pieces of each kind ``question`` has; None if it has any other."""
    counts = dict.fromkeys(("number", "operation", "function", "courtesy"), 0)
    for piece in _PIECE.finditer(question):
        text = piece[0].lower()
        match piece.lastgroup:
            case "number" | "chinese":
                counts["number"] += 1
            case "sign" if text == "=":
                counts["courtesy"] += 1
            case "sign":
                counts["function" if text in "√²³!" else "operation"] += 1
            case "word":
                kind = _kind_of_word(text)
                if kind is None:
                    return None
                counts[kind] += 1
            case "strange":
                return None
    return counts


def _kind_of_word(word: str) -> str | None:
    if word in w.FUNCTIONS:
        return "function"
    if word in w.OPERATIONS:
        return "operation"
    if word in w.NUMBERS:
        return "number"
    return "courtesy" if word in w.COURTESIES else None


def _has_formula_and_task(question: str) -> bool:
    """Return whether ``question`` has a formula and a task; "what is the 80/20 rule?" has none."""
    if _EQUATION.fullmatch(question):
        return True
    if not _FORMULA.search(question):
        return False
    wonders = _WONDERS.search(question) and _SYMBOL.search(question)
    return bool(_TASK.search(question) or wonders)


def _wants_thing(question: str) -> bool:
    """Return whether ``question`` asks for a mathematical thing of numbers."""
    if not _ASKS.search(question):
        return False
    quantities = _quantities(question)
    if _ONLY_MATHEMATICS.search(question):
        return bool(quantities or _FORMULA.search(question))
    needed = 1 if _COMPUTES.search(question) else 2
    return bool(_ALSO_MATHEMATICS.search(question)) and len(quantities) >= needed


def _is_story(question: str) -> bool:
    """Return whether ``question`` tells a story with numbers, and asks how many.

    The story comes first, in a clause of its own, or behind an "if"; it is nobody's own life.
    """
    how_many = _HOW_MANY.search(question)
    if how_many is None or len(_quantities(question)) < 2 or _OWN_LIFE.search(question):
        return False
    before = question[: how_many.start()]
    if _quantities(before) and _CLAUSE_END.search(before):
        return True
    return bool(_HOW_MANY_IF.search(question, how_many.start()))


def _quantities(text: str) -> list[str]:
    return [found for found in _QUANTITY.findall(text) if not _YEAR.fullmatch(found)]
