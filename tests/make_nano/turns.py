"""Conversations of up to ten turns: new questions after old ones, questions that go on from the
last answer, questions about a file that came earlier, and about the conversation itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano.exchange import Exchange
from make_nano.phrasing import capitalised
from make_nano.skills import facts
from make_nano.skills.refusals import more_of_country_next, unknown_country_next

Skill = Callable[[random.Random], Exchange]
HISTORY = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9)  # exchanges before the last
MAX_HISTORY = 2400  # characters
UNKNOWN = 0.25  # of the follow-ups to a capital
MAX_REPEATED = 170  # characters of a question or an answer that is said again
ORDINALS = ("first", "second", "third", "fourth", "fifth")
ASKED_FIRST = (
    "what was my {o} question",
    "what did I ask you {o}",
    "which question did I ask {o}",
    "repeat my {o} question",
    "do you remember my {o} question",
    "what was the {o} thing I asked",
    "my {o} question was",
    "tell me my {o} question",
    "what is the {o} thing that I asked",
    "can you repeat my {o} question",
)
ASKED_LAST = (
    "what was my last question",
    "what did I just ask",
    "repeat my last question",
    "what was my previous question",
    "what did I ask before this",
    "what did I ask you last",
    "what was the question before this one",
    "what was my question",
    "what did I ask",
)
ANSWERED_LAST = (
    "what was your last answer",
    "repeat your last answer",
    "what did you just say",
    "say that again",
    "what was your answer",
    "repeat that please",
    "what did you say",
)
COUNTED = (
    "how many questions did I ask",
    "how many questions have I asked so far",
    "count my questions",
    "how many things did I ask",
)


def conversation(r: random.Random, draw: Skill) -> list[Exchange]:
    """Return exchanges of which the last is to be learned; ``draw`` draws one of any kind."""
    wanted = r.choice(HISTORY)
    history: list[Exchange] = []
    size = 0
    while len(history) < wanted and size < MAX_HISTORY:
        previous = history[-1] if history else None
        if previous and previous.follow and r.random() < 0.35:
            history.append(previous.follow(r))
        else:
            history.append(draw(r))
        size += len(history[-1].question) + len(history[-1].answer)
    return [*history, _last(r, history, draw)]


def _last(r: random.Random, history: list[Exchange], draw: Skill) -> Exchange:
    way = r.random()
    follow = history[-1].follow
    if way < 0.38 and follow:
        if follow is facts.and_of and r.random() < UNKNOWN:
            return r.choice((unknown_country_next, more_of_country_next))(r)
        return follow(r)
    recalls = [each.recall for each in history if each.recall]
    if way < 0.55 and len(recalls) == 1:
        return recalls[0](r)
    if way < 0.66:
        about = _about_conversation(r, history)
        if about:
            return about
    return draw(r)


def first_question(r: random.Random) -> Exchange:
    """Return a question about the conversation where there was none."""
    form = r.choice([*ASKED_FIRST, *ASKED_LAST]).format(o="first")
    question = capitalised(r, form) + r.choice(["?", "?", ""])
    return Exchange(
        question, "There is no question before this one.", "This is your first question."
    )


def _about_conversation(r: random.Random, history: list[Exchange]) -> Exchange | None:
    way = r.random()
    if way < 0.45:
        at = 0 if r.random() < 0.6 else r.randrange(min(len(history), len(ORDINALS)))
        form = r.choice(ASKED_FIRST).format(o=ORDINALS[at])
        said, what = history[at].asked, f"Your {ORDINALS[at]} question was"
        thinking = f"I look back at the {ORDINALS[at]} question."
    elif way < 0.7:
        form = r.choice(ASKED_LAST)
        said, what = history[-1].asked, "Your last question was"
        thinking = "I look back at the question before this one."
    elif way < 0.85:
        form = r.choice(ANSWERED_LAST)
        said, what = history[-1].answer, "My last answer was"
        thinking = "I look back at my last answer."
    else:
        count = len(history)
        questions = "1 question" if count == 1 else f"{count} questions"
        form, thinking = r.choice(COUNTED), f"I count the questions before this one: {count}."
        question = capitalised(r, form) + r.choice(["?", "?", ""])
        return Exchange(question, thinking, f"You asked {questions} before this one.")
    said = said.strip()
    if len(said) > MAX_REPEATED or "\n" in said or "<｜" in said:
        return None
    return Exchange(capitalised(r, form) + r.choice(["?", "?", ""]), thinking, f"{what}: {said}")
