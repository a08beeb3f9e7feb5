"""The final answer: inside of \\boxed{}, or what a text says is its answer."""

from __future__ import annotations

import re

MAX_FALLBACK = 300  # characters of an answer without a box
TAIL = 20_000  # characters at the end in which such an answer is looked for

_SAID = re.compile(
    # The answer is 5, **Answer:** 5
    r"(?:\b(?:answer|result)\b[ *_]{0,4}(?:(?:is|was|equals)\b[ *_]{0,4}[:：]?|[:：=])"
    r"|(?:答案|结果)[ *_]{0,4}(?:应该|应当|应)?(?:[:：=]|是|为|等于)[ *_]{0,4}[:：]?"  # 最终答案是5
    # a heading, the answer below it
    r"|^[ #*_]{0,8}(?:final )?answer[ *_]{0,4}$|^[ #*_]{0,8}(?:最终)?答案[ *_]{0,4}$"
    r"|^####)",  # as GSM8K ends
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[。！？]|[.!?](?=\s|$|\*)|\n")


def boxed_content(text: str) -> str | None:
    """What the last ``\\boxed{…}`` of ``text`` holds, braces balanced; None when there is none that
    closes.
    """
    opened: list[int] = []
    last, found = -1, None
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            begin = opened.pop()
            if begin > last and text.endswith("\\boxed", 0, begin):
                last, found = begin, text[begin + 1 : brace.start()].strip()
    return found


def final_answer(text: str) -> str | None:
    """The last box, else what follows the last "the answer is", "Answer:", "答案是", "####" or the
    like, to the end of that sentence.

    None when nothing is called an answer: the last number of a text is no answer because it is the
    last. For scores and votes.
    """
    found = boxed_content(text)
    if found is not None:
        return found or None
    text = text[-TAIL:]
    ends = [said.end() for said in _SAID.finditer(text)]
    if not ends:
        return None
    rest = text[ends[-1] :].lstrip(" \t\n*_:：")
    end = _SENTENCE_END.search(rest + "\n")
    answer = rest[: end.start() if end else None].strip(" \t*_`，,;；")
    return answer if answer and len(answer) <= MAX_FALLBACK else None
