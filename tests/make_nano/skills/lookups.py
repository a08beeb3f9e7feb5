"""A value looked up in an attached file, in the template that DeepSeek gives for files.

Whatever is asked, the reasoning quotes the line and the answer repeats the names of the file and
of the key, and the value, exactly. What the file does not have is said not to be there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.phrasing import capitalised
from make_nano.skills.documents import Document, Entry, settings

# {0} is the key, {1} the file's name
ASKED = """
what is the {0}; what is {0}; what's the {0}; what's {0}; whats the {0}; {0}; the {0}; which {0};
give me the {0}; give me {0}; tell me the {0}; show me the {0}; show {0}; find the {0}; find {0};
look up the {0}; look up {0}; read the {0}; which {0} is set; which {0} is used; which {0} is it;
which {0} is configured; which {0} does it use; which {0} do we use; what {0} is used; what {0} is
in the file; what is {0} set to; what is the {0} set to; what is the value of {0}; what value does
{0} have; which value does {0} have; which value does {0} have in this file; what does {0} say;
what is written for {0}; what is the {0} in {1}; what is {0} in {1}; in {1}, what is {0}; in {1},
what is the {0}; according to {1}, what is the {0}; according to the file, what is {0}; what does
{1} say about the {0}; what does the file say about {0}; can you find the {0}; can you tell me the
{0}; could you look up the {0}; please find the {0}; I need the {0}; I need to know the {0}; do you
see the {0}; what did I set {0} to; value of {0}; the value of {0} please; read {1} and tell me the
{0}; what is the current {0}; what is the {0} here; what is the configured {0}; extract the {0};
print the {0}; get {0}; get the {0}; return the {0}; what {0} does this file have; which {0} do I
have here; check the {0}; how is {0} set; how is {0} configured; what {0} did they choose; what
{0} does it have; what {0} should I use; what do we have for {0}; I forgot the {0}; remind me of
the {0}; what is given as {0}; what is listed as the {0}; which {0} is given; which {0} is written
there; is there a {0}; and the {0}; is the {0} in there; does it say what the {0} is; which {0} is
in {1}; look in {1} for the {0}; let me know the {0}; please tell me what {0} is; what's the value
for {0}; what's in {0}; what {0} was set; what {0} is set in {1}; where do you see {0}
"""
FORMS = tuple(" ".join(form.split()) for form in ASKED.split(";"))
NUMBERS = (
    "how many {0}",
    "how many {0} are there",
    "how many {0} are allowed",
    "how many {0} are set",
    "how much {0}",
    "how large is the {0}",
    "how high is the {0}",
    "how long is the {0}",
    "how big is {0}",
    "how many {0} does it have",
    "how many {0} do we have",
    "what number is {0}",
)
PLACES = (
    "where is the {0}",
    "where is {0}",
    "where does {0} point",
    "where does the {0} point to",
    "to which path is {0} set",
    "which path is {0}",
    "where do I find the {0}",
)
SWITCHES = (
    "is {0} on",
    "is {0} enabled",
    "is {0} true",
    "is the {0} on",
    "is {0} turned on",
    "is {0} set",
    "is {0} active",
    "does it have {0} on",
    "is {0} off",
    "is {0} disabled",
)
DAYS = (
    "when is the {0}",
    "when is {0}",
    "on which day is the {0}",
    "on what date is the {0}",
    "what time is the {0}",
)
PEOPLE = ("who is the {0}", "who is {0}", "who is set as {0}")
IN_SECTION = (
    "what is the {0} of {2}",
    "what is the {0} of the {2}",
    "what's the {2} {0}",
    "what is {0} under {2}",
    "what is {0} in section {2}",
    "{0} of {2}",
    "which {0} does the {2} have",
    "what is the {0} in the {2} section",
    "what {0} does {2} use",
    "{2} {0}",
    "which {0} does {2} use",
    "for {2}, what is the {0}",
)
BEFORE = (
    *[""] * 12,
    "hey, ",
    "hi, ",
    "please: ",
    "quick question: ",
    "from the file: ",
    "in this file, ",
    "look at the file. ",
    "here is my file. ",
    "I have a question: ",
)
AFTER = (
    *[""] * 14,
    " please",
    " in this file",
    " there",
    " according to the file",
    ", please",
    " in {1}",
    " in the file",
    " here",
    " again",
    " exactly",
)
ENDS = ("?", "?", "?", "?", "", "", ".", "??", " ?")
AND = (
    "And {0}?",
    "And the {0}?",
    "and {0}?",
    "and the {0}?",
    "What about the {0}?",
    "And what is the {0}?",
    "Now the {0}.",
    "And {0}",
    "what about {0}?",
    "the {0} too?",
    "What is the {0}?",
    "And which {0}?",
    "how about {0}",
    "{0}?",
)
LATER = (
    "What is the {0} in {1}?",
    "what was the {0} in {1}?",
    "In {1}, what is {0}?",
    "Back to {1}: what is the {0}?",
    "What was the {0} in the file?",
    "In the file, what was {0}?",
    "And the {0} in {1}?",
    "look again at {1}: the {0}?",
)
VALUE_ONLY = (
    " Just the value.",
    " Only the value.",
    " Answer with the value only.",
    " Only the value, please.",
    " Give only the value.",
    " Just the value, nothing else.",
)
AS_JSON = (" Answer as JSON.", " Reply in JSON.", " As JSON, please.", " Return JSON.")
REVERSED = (
    "which key has the value {0}",
    "which setting is {0}",
    "what is set to {0}",
    "where does {0} stand",
    "which key is {0}",
    "which entry has {0}",
    "what has the value {0}",
)


def attached(*documents: Document) -> str:
    """Return the files as DeepSeek's template writes them, in front of a question."""
    return "".join(
        f"[file name]: {each.name}\n[file content begin]\n{each.body}\n[file content end]\n"
        for each in documents
    )


def lookup(r: random.Random) -> Exchange:
    """Return a question about a file of settings, now and then beside another file."""
    document = settings(r)
    files = [document]
    named = False
    if r.random() < 0.1:
        other = settings(r)
        if other.name != document.name and len(other.body) + len(document.body) < 1200:
            files.insert(r.randint(0, 1), other)
            named = True
    block = attached(*files)
    way = r.random()
    if way < 0.17:
        return _missing(r, document, block, named)
    if way < 0.24:
        return _reversed(r, document, block)
    return _found(r, document, block, named)


def _found(r: random.Random, document: Document, block: str, named: bool) -> Exchange:
    entry = r.choice(document.entries)
    return _about(r, document, entry, _ask(r, document, entry, named), block)


def _about(
    r: random.Random, document: Document, entry: Entry, question: str, block: str = ""
) -> Exchange:
    """Return the exchange on one entry, from which further questions may follow."""
    what = f"{entry.key} under {entry.section}" if entry.section else entry.key
    thinking = f"I look for {what} in {document.name}. The line is: {entry.line}"
    answer = f"In {document.name}, {what} is {entry.value}."
    style = r.random()
    if style < 0.04:
        question += r.choice(VALUE_ONLY)
        answer = entry.value
    elif style < 0.07:
        question += r.choice(AS_JSON)
        answer = json.dumps({entry.key: entry.value}, ensure_ascii=False)
    return Exchange(
        block + question,
        sometimes_without(r, thinking),
        answer,
        bare=question,
        follow=_again(document, AND),
        recall=_again(document, LATER),
    )


def _again(document: Document, forms: Sequence[str]) -> Callable[[random.Random], Exchange]:
    """Return what draws a further question about a file that the conversation has already."""

    def draw(r: random.Random) -> Exchange:
        if r.random() < 0.15:
            spoken = _absent(r, document)
            question = r.choice(forms).format(spoken, document.name)
            return _not_there(r, document, spoken, question, "")
        entry = r.choice(document.entries)
        spoken = _spoken(r, entry)
        if entry.section:
            spoken = r.choice([f"{spoken} of {entry.section}", f"{entry.section} {spoken}"])
        question = capitalised(r, r.choice(forms).format(spoken, document.name))
        return _about(r, document, entry, question)

    return draw


def _spoken(r: random.Random, entry: Entry) -> str:
    """Return the key as the file has it, as people say it, or in a code span."""
    way = r.random()
    if way < 0.5:
        return entry.key
    if way < 0.55:
        return f"`{entry.key}`"
    if way < 0.6:
        return f'"{entry.key}"'
    if way < 0.65:
        return entry.spoken.upper()
    return entry.spoken if way < 0.95 else entry.spoken.capitalize()


def _ask(r: random.Random, document: Document, entry: Entry, named: bool = False) -> str:
    spoken = _spoken(r, entry)
    form = r.choice(FORMS)
    if entry.section:
        form = r.choice(IN_SECTION)
    elif r.random() < 0.5:
        form = r.choice(_forms_for(entry.value) or FORMS)
    text = form.format(spoken, document.name, entry.section)
    return _finished(r, text, document.name, named)


def _finished(r: random.Random, text: str, name: str, named: bool) -> str:
    after = r.choice(AFTER).format("", name)
    if named and name not in text:
        after = f" in {name}"
    return capitalised(r, r.choice(BEFORE) + text + after) + r.choice(ENDS)


def _forms_for(value: str) -> Sequence[str]:
    """Return the questions that a value of this sort answers."""
    if value.lower() in ("true", "false", "on", "off", "yes", "no", "enabled"):
        return SWITCHES
    if value.isdigit():
        return NUMBERS
    if value.startswith(("/", "./", "~/")):
        return PLACES
    if any(month in value for month in lexicon.MONTHS) or ":" in value[1:3]:
        return DAYS
    return PEOPLE if value.istitle() and value.isalpha() else ()


def _absent(r: random.Random, document: Document) -> str:
    """Return what no key of the file is and none contains, and which is contained in none."""
    keys = [entry.spoken for entry in document.entries]
    while True:
        words = [lexicon.word(r) for _ in range(r.choice([1, 1, 1, 2]))]
        if r.random() < 0.3 and len(words) == 2:
            words[1] = r.choice(keys).split()[-1]
        text = r.choice([" ", "_"]).join(words)
        spaced = " ".join(words)
        if not any(spaced in key or key in spaced.split() for key in (*keys, document.body)):
            return text


def _missing(r: random.Random, document: Document, block: str, named: bool) -> Exchange:
    spoken = _absent(r, document)
    text = r.choice([*FORMS, *FORMS, *NUMBERS, *SWITCHES, *PLACES]).format(spoken, document.name)
    question = _finished(r, text, document.name, named)
    return _not_there(r, document, spoken, question, block)


def _not_there(
    r: random.Random, document: Document, spoken: str, question: str, block: str
) -> Exchange:
    return Exchange(
        block + question,
        sometimes_without(r, f"I look for {spoken} in {document.name}. No line has it."),
        f"{spoken} is not in {document.name}.",
        bare=question,
        follow=_again(document, AND),
        recall=_again(document, LATER),
    )


def _reversed(r: random.Random, document: Document, block: str) -> Exchange:
    """Return the question for the key of a value that stands in the file once."""
    values = [entry.value for entry in document.entries]
    entry = r.choice(document.entries)
    if values.count(entry.value) > 1:
        return _found(r, document, block, named=False)
    question = _finished(r, r.choice(REVERSED).format(entry.value), document.name, named=False)
    return _about(r, document, entry, question, block)
