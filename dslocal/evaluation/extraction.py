r"""Find the final answer of a text: what is in \boxed{}, or what is called the answer."""

from __future__ import annotations

import re

MAX_FALLBACK = 300  # characters of an answer without a box
TAIL = 20_000  # characters at the end in which such an answer is looked for

_ANNOUNCEMENT = re.compile(
    r"""
      # The answer is 5, **Answer:** 5
      \b(?:answer|result)\b[ *_]{0,4}(?:(?:is|was|equals)\b[ *_]{0,4}[:：]?|[:：=])
      # 最终答案是5
    | (?:答案|结果)[ *_]{0,4}(?:应该|应当|应)?(?:[:：=]|是|为|等于)[ *_]{0,4}[:：]?
      # a heading, the answer below it
    | ^[ #*_]{0,8}(?:final[ ])?answer[ *_]{0,4}$
    | ^[ #*_]{0,8}(?:最终)?答案[ *_]{0,4}$
      # the end of an answer of GSM8K
    | ^\#\#\#\#
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[。！？]|[.!?](?=\s|$|\*)|\n")


def boxed_content(text: str) -> str | None:
    r"""Return what the last ``\boxed{…}`` of ``text`` holds; None if none is closed."""
    opened: list[int] = []  # where braces open that are not closed yet
    last = -1
    found = None
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            begin = opened.pop()
            if begin > last and text.endswith("\\boxed", 0, begin):
                last = begin
                found = text[begin + 1 : brace.start()].strip()
    return found


def final_answer(text: str) -> str | None:
    """Return the final answer of ``text``; None if it has none.

    It is in the last box, or else follows the last "the answer is", "Answer:", "答案是", "####" or
    the like, up to the end of that sentence. The last number of a text is not an answer only
    because it is the last.
    """
    found = boxed_content(text)
    if found is not None:
        return found or None
    text = text[-TAIL:]
    ends = [match.end() for match in _ANNOUNCEMENT.finditer(text)]
    if not ends:
        return None
    rest = text[ends[-1] :].lstrip(" \t\n*_:：")
    end = _SENTENCE_END.search(rest + "\n")
    answer = rest[: end.start() if end else None].strip(" \t*_`，,;；")
    return answer if answer and len(answer) <= MAX_FALLBACK else None
