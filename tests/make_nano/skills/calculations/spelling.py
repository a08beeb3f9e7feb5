"""How often a word has a letter."""

from __future__ import annotations

import random

from make_nano import lexicon
from make_nano.problems import Problem
from make_nano.puzzles import counted_letters
from make_nano.words import SPELLED

FORMS = (
    "How many {0}'s are in {1}",
    "How many {0}s are in {1}",
    "how many times is {0} in {1}",
    "How many letters {0} does {1} have",
    "How many {0}'s does the word {1} have",
    "how often does the letter {0} occur in {1}",
    "how many {0} are in the word {1}",
    "number of {0} in {1}",
    "How many times does the letter {0} appear in the word {1}",
    'How many {0}\'s are in "{1}"',
    "count the {0}s in {1}",
)


def letter_count(r: random.Random, end: str) -> Problem:
    word = r.choice((r.choice(SPELLED), lexicon.syllables(r), r.choice(lexicon.COMMON)))
    letter = r.choice(word) if r.random() < 0.9 else r.choice(lexicon.LETTERS)
    twice = [each for each in word if word.count(each) > 1]
    if twice and r.random() < 0.4:
        letter = r.choice(twice)
    return Problem(r.choice(FORMS).format(letter, word) + end, counted_letters(word, letter))
