"""A value looked up in an attached file, in the template that DeepSeek gives for files.

Whatever is asked, the reasoning lists the keys, since a model that reads forwards has not seen the
question when it reads the file. It then quotes the file from the key on to the value, and the
answer repeats the names of the file and of the key, and the value, exactly. What the file does not
have is said not to be there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.phrasing import capitalised
from make_nano.skills.files.concepts import Concept, concepts
from make_nano.skills.files.document import Document, Entry, attached, line_by_line
from make_nano.skills.files.settings import same_question, settings
from make_nano.skills.files.values import place_name
from make_nano.words import word_list

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
for {0}; what's in {0}; what {0} was set; what {0} is set in {1}; where do you see {0};
what kind of {0} is it; what sort of {0} is used; which {0} was chosen; which {0} do I need; what
{0} was it again; can I have the {0}; do we have a {0}; does it have a {0}; what does it have as
{0}; what is entered for {0}; what stands under {0}; what is noted for {0}; {0} please; {0}, what
is it; under {0}, what does it say; tell me what the {0} is; tell me {0}; do you know the {0}; what
about the {0}; what about {0}; which {0} applies; which {0} is it using; which {0} is running; what
is the name of the {0}; what {0} do they have; what {0} are they using; which {0} is named; what
{0} is mentioned; what {0} is given; which {0} is mentioned; what {0} is noted; which {0} has been
set; what {0} will be used; what are the {0}; which are the {0}; who or what is the {0}; I would
like to know the {0}; it must have a {0}, which one; what did we say about {0}; what is my {0};
what is our {0}; what is your {0}; what is its {0}; what are its {0}; which {0} are there; how is
the {0} called; {0} = ; what's my {0}; what's our {0}; what {0} do I use; what {0} does one need
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
    "what is the {0} for {2}",
    "what's the {0} in {2}",
    "what's {2}'s {0}",
    "which {0} is used by {2}",
    "which {0} is it for the {2}",
    "what {0} does the {2} use",
    "which {0} does the {2} run with",
    "what {0} has {2}",
    "and for {2}, which {0}",
    "tell me the {0} of {2}",
    "{2}'s {0}",
    "what is {2} {0}",
    "in {2}, which {0} is set",
    "what about the {0} of the {2}",
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
    "what is {2}.{0}",
    "{2}.{0}",
    "what is the value of {2}.{0}",
    "what's {2}.{0} set to",
    "what does {2}.{0} say",
    "what is {2}/{0}",
    "what is {0} in [{2}]",
    "what is {2} > {0}",
    "{0} under {2}",
    "what does the {2} section say about {0}",
    "what is the {0} of the {2} section",
    "which {0} is configured for {2}",
    "which {0} is set under {2}",
    "the {0} in {2}",
)
SUBJECTS = word_list("""
    server app service project package file program user machine device system site database job
    build team house car book recipe event meeting trip patient customer order product company
    printer model network config script container cluster client account game school garden
""")
OF_SUBJECT = ("{1}'s {0}", "the {1}'s {0}", "the {0} of the {1}", "the {1} {0}", "{0} of the {1}")
WITH_SUBJECT = (
    "what is {}",
    "what's {}",
    "tell me {}",
    "do you know {}",
    "which is {}",
    "give me {}",
    "{}",
    "what would be {}",
    "I need {}",
)
SUBJECT_HAS = (
    "which {0} does the {1} have",
    "what {0} does the {1} use",
    "which {0} does the {1} need",
    "what {0} is the {1} on",
    "which {0} is the {1} set to",
    "which {0} belongs to the {1}",
    "what {0} has the {1}",
    "what {0} does this {1} have",
    "what is this {1}'s {0}",
    "which {0} did the {1} get",
)
BEFORE = (
    *[""] * 24,
    "hey, ",
    "hi, ",
    "please: ",
    "quick question: ",
    "from the file: ",
    "in this file, ",
    "look at the file. ",
    "here is my file. ",
    "I have a question: ",
    "can you tell me ",
    "could you tell me ",
    "do you know ",
    "tell me ",
    "please tell me ",
    "I want to know ",
    "I'd like to know ",
    "I was wondering ",
    "any idea ",
    "so ",
    "ok, ",
    "and ",
    "sorry, ",
    "hello! ",
    "just checking: ",
    "I can't find it: ",
    "my colleague asks: ",
    "for the record, ",
    "before I forget: ",
    "I only need one thing: ",
    "for my report: ",
    "help me out, ",
    "please look up ",
    "can you see ",
    "remind me, ",
    "one more thing, ",
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
FOREIGN = (  # questions that other files answer
    "who lives in {0}",
    "where does {0} live",
    "who works at {0}",
    "who is {0}",
    "how old is {0}",
    "when is the {0}",
    "where is the {0}",
    "what is the price of {0}",
    "how much does the {0} cost",
    "how much is the {0}",
    "how many {0} do we need",
    "what happened to {0}",
    "what does {0} return",
    "when did {0} start",
    "whose is the {0}",
    "which line has {0}",
    "what does it say about {0}",
    "who has the {0}",
)
SLIPS = 0.05  # of the questions
SLIPPERY = {
    *word_list("""
    what which where when whose does have much many please tell show give find according there
    used written should could would with from this that value file they the how
""")
}
UNREASONED = 0.06  # of the answers about files
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


def lookup(r: random.Random) -> Exchange:
    """Return a question about a file of settings, now and then beside another file."""
    document = settings(r)
    files = [document]
    named = False
    if r.random() < 0.07:
        other = settings(r)
        if other.name != document.name and len(other.body) + len(document.body) < 1200:
            files.insert(r.randint(0, 1), other)
            named = True
    return question_about(r, document, attached(*files), named=named)


def several_lookups(r: random.Random, count: int) -> list[Exchange]:
    """Return questions about one file, of which only the first has the file."""
    document = settings(r)
    block = attached(document)
    return [question_about(r, document, "" if number else block) for number in range(count)]


def question_about(
    r: random.Random, document: Document, block: str, *, named: bool = False
) -> Exchange:
    """Return a question about a file that stands in ``block``; ``named`` if others do too."""
    way = r.random()
    if way < 0.19:
        return _missing(r, document, block, named)
    if way < 0.24:
        return _reversed(r, document, block, named)
    entry = r.choice(document.entries)
    question, spoken = _ask(r, document, entry, named)
    if spoken and not _is_clear(document, entry, spoken):
        return question_about(r, document, block, named=named)
    return _about(r, document, entry, question, block)


def _is_clear(document: Document, entry: Entry, spoken: str) -> bool:
    """Whether what is asked for is this entry and no other."""
    words = _normal(spoken)
    others = [
        each
        for each in document.entries
        if each is not entry and words in (_normal(each.key), _normal(each.spoken))
    ]
    return words in (_normal(entry.key), _normal(entry.spoken)) or not others


def _normal(text: str) -> str:
    return text.lower().replace("_", " ").replace("-", " ").replace(".", " ")


def what(entry: Entry) -> str:
    """Return how reasoning and answer call an entry."""
    return f"{entry.key} under {entry.section}" if entry.section else entry.key


def _about(
    r: random.Random, document: Document, entry: Entry, question: str, block: str = ""
) -> Exchange:
    """Return the exchange on one entry, from which further questions may follow."""
    thinking = f"{looking_for(document, what(entry))} It says: {entry.line}"
    return _said(r, document, entry, question, block, thinking)


def looking_for(document: Document, wanted: str) -> str:
    """Return how all reasoning about the file begins: its keys, by section, and what is wanted."""
    keys: dict[str, list[str]] = {}
    for entry in document.entries:
        keys.setdefault(entry.within, []).append(entry.key)
    listed = "; ".join(
        f"{section}: {', '.join(own)}" if section else ", ".join(own)
        for section, own in keys.items()
    )
    return f"The keys are {listed}. I look for {wanted} in {document.name}."


def _said(
    r: random.Random, document: Document, entry: Entry, question: str, block: str, thinking: str
) -> Exchange:
    answer = f"In {document.name}, {what(entry)} is {entry.value}."
    style = r.random()
    if style < 0.02:
        question += r.choice(VALUE_ONLY)
        answer = entry.value
    elif style < 0.035:
        question += r.choice(AS_JSON)
        answer = json.dumps({entry.key: entry.value}, ensure_ascii=False)
    return Exchange(
        block + question,
        sometimes_without(r, thinking, UNREASONED),
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
        if r.random() < 0.2:
            return question_about(r, document, "")
        entry = r.choice(document.entries)
        spoken = _spoken(r, document, entry)
        if entry.section:
            spoken = r.choice([f"{spoken} of {entry.section}", f"{entry.section} {spoken}"])
        elif not _is_clear(document, entry, spoken):
            spoken = entry.key
        question = capitalised(r, r.choice(forms).format(spoken, document.name))
        return _about(r, document, entry, question)

    return draw


def _spoken(r: random.Random, document: Document, entry: Entry) -> str:
    """Return the key as the file has it, as people say it, in part, or in another form."""
    way = r.random()
    if way < 0.36:
        return entry.key
    if way < 0.4:
        return r.choice(["`{}`", '"{}"', "'{}'"]).format(entry.key)
    if way < 0.44:
        return entry.spoken.upper()
    if way < 0.5:
        return entry.spoken.capitalize()
    if way < 0.6:
        return _in_part(r, document, entry)
    if way < 0.68:
        return _bent(r, entry.spoken)
    if way < 0.76 and entry.asked:
        return _other_name(r, entry)
    return entry.spoken


def _in_part(r: random.Random, document: Document, entry: Entry) -> str:
    """Return one word of a key of several, where no other key has it."""
    words = [word for word in entry.spoken.split() if len(word) > 2]
    word = r.choice(words) if words else entry.spoken
    others = (each.spoken for each in document.entries if each is not entry)
    return entry.spoken if any(word in other for other in others) else word


def _bent(r: random.Random, spoken: str) -> str:
    """Return a key in another number, spelling or form."""
    for word, other in (("color", "colour"), ("center", "centre"), ("license", "licence")):
        if word in spoken:
            return spoken.replace(word, other)
    if spoken.endswith("s"):
        return spoken[:-1] if len(spoken) > 4 else spoken
    endings = ["s", "s", "s"] if not spoken.endswith("e") else ["s", "d", "s"]
    return spoken + r.choice([*endings, r.choice([" value", " setting", " name", " number"])])


def _other_name(r: random.Random, entry: Entry) -> str:
    """Return another name of the same thing, such as learning rate for lr."""
    names = [each.keys for each in concepts() if each.asked == entry.asked]
    return r.choice(names[0]) if names else entry.spoken


def _ask(
    r: random.Random, document: Document, entry: Entry, named: bool = False
) -> tuple[str, str]:
    """Return a question for an entry, and the key in it if there is one."""
    if entry.asked and r.random() < 0.45:
        question = r.choice(entry.asked)
        same = same_question(document, question)
        if entry.section or (entry.within and r.random() < 0.4):
            question = _of_section(r, question, entry.within)
        elif r.random() < 0.35:
            question = _of_a_subject(r, question)
        if entry.section or same == 1:
            return finished(r, question, document.name, named=named), ""
    spoken = _spoken(r, document, entry)
    form = r.choice(FORMS)
    if entry.section or (entry.within and r.random() < 0.4):
        form = r.choice(IN_SECTION)
    elif r.random() < 0.25:
        subject = r.choice(SUBJECTS)
        if r.random() < 0.5:
            spoken_of = r.choice(OF_SUBJECT).format(spoken, subject)
            return finished(
                r, r.choice(WITH_SUBJECT).format(spoken_of), document.name, named=named
            ), spoken
        form = r.choice(SUBJECT_HAS).replace("{1}", subject)
    elif r.random() < 0.5:
        form = r.choice(_forms_for(entry.value) or FORMS)
    text = form.format(spoken, document.name, entry.within)
    return finished(r, text, document.name, named=named), spoken


def _of_section(r: random.Random, question: str, section: str) -> str:
    """Return a question that names no key, asked of one section."""
    words = question.split()
    if section in question:
        return question
    if "it" in words and r.random() < 0.7:
        words[words.index("it")] = r.choice([section, f"the {section}"])
        return " ".join(words)
    form = r.choice(["for {1}, {0}", "{0} for {1}", "in {1}, {0}", "{0} in {1}", "{1}: {0}"])
    return form.format(question, r.choice([section, f"the {section}"]))


def _of_a_subject(r: random.Random, question: str) -> str:
    """Return a question that names no key, asked of the server or this house instead of it."""
    words = question.split()
    if "it" in words:
        words[words.index("it")] = f"{r.choice(('the', 'the', 'this', 'our', 'my'))} " + r.choice(
            SUBJECTS
        )
    return " ".join(words)


def finished(r: random.Random, text: str, name: str, *, named: bool = False) -> str:
    """Return a question with what people put around it; ``named`` if it must name the file."""
    before, after = r.choice(BEFORE), r.choice(AFTER).format("", name)
    if named and name not in text:
        after = f" in {name}"
    elif r.random() < 0.04:
        before = r.choice(("in {}, ", "according to {}, ", "{}: ", "from {}: ")).format(name)
        after = ""
    if r.random() < SLIPS:
        text = _slipped(r, text)
    return capitalised(r, before + text + after) + r.choice(ENDS)


def _slipped(r: random.Random, text: str) -> str:
    """Return a question with a slip of the keyboard in a word that names nothing."""
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if word in SLIPPERY]
    if places:
        at = r.choice(places)
        words[at] = lexicon.mistyped(r, words[at])
    return " ".join(words)


def exchange(
    r: random.Random, document: Document, block: str, text: str, thinking: str, answer: str
) -> Exchange:
    """Return the exchange for a question about a file that stands in ``block``."""
    question = finished(r, text, document.name)
    reasoning = sometimes_without(r, thinking, UNREASONED)
    return Exchange(block + question, reasoning, answer, question)


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
    text = document.body.lower()
    taken = {entry.asked for entry in document.entries}
    while True:
        if r.random() < 0.45:
            concept = r.choice(concepts())
            if concept.asked in taken:
                continue
            words = r.choice(concept.keys).split()
        else:
            words = [lexicon.any_word(r) for _ in range(r.choice([1, 1, 1, 2]))]
            if r.random() < 0.3 and len(words) == 2:
                words[1] = r.choice(keys).split()[-1]
        spaced = " ".join(words)
        asked = r.choice([" ", "_", ""]).join(words) if r.random() < 0.4 else spaced
        is_near = any(spaced in key or key in spaced.split() for key in (*keys, text))
        if not is_near and asked.lower() not in text and words[0].lower() not in text:
            return asked


def _unheld(r: random.Random, document: Document) -> Concept | None:
    """Return a thing of which the file has neither the kind nor the name, if one is found soon."""
    asked = {entry.asked for entry in document.entries}
    kinds = {each.kind for each in concepts() if each.asked in asked}
    text = document.body.lower()
    for _ in range(4):
        concept = r.choice(concepts())
        is_held = any(word in text for key in concept.keys for word in (key, key.split()[0]))
        if concept.kind not in kinds and not is_held:
            return concept
    return None


def _foreign_to(r: random.Random, document: Document) -> str:
    """Return somebody or something that the file does not name."""
    while True:
        draw = r.choice((lexicon.name, place_name, lexicon.word))
        found = draw(r)
        if found.lower() not in document.body.lower():
            return found


def _missing(r: random.Random, document: Document, block: str, named: bool) -> Exchange:
    if document.lacking and r.random() < 0.4:
        lacking = r.choice(document.lacking)
        text = r.choice([r.choice(lacking.asked), r.choice(FORMS)]).format(
            lacking.spoken, document.name
        )
        text = finished(r, text, document.name, named=named)
        return _not_there(r, document, lacking.spoken, text, block)
    way = r.random()
    concept = _unheld(r, document) if way > 0.75 else None
    if concept:
        text, spoken = r.choice(concept.asked), concept.keys[0]
        return _not_there(r, document, spoken, finished(r, text, document.name, named=named), block)
    spoken = _absent(r, document)
    if way > 0.68:
        spoken = _foreign_to(r, document)
        text = r.choice(FOREIGN).format(spoken)
        return _not_there(r, document, spoken, finished(r, text, document.name, named=named), block)
    if way < 0.2:
        subject = r.choice(SUBJECTS)
        text = r.choice(WITH_SUBJECT).format(r.choice(OF_SUBJECT).format(spoken, subject))
        if way < 0.1:
            text = r.choice(SUBJECT_HAS).format(spoken, subject)
    else:
        forms = [*FORMS, *FORMS, *NUMBERS, *SWITCHES, *PLACES, *PEOPLE, *DAYS]
        text = r.choice(forms).format(spoken, document.name)
    return _not_there(r, document, spoken, finished(r, text, document.name, named=named), block)


def _not_there(
    r: random.Random, document: Document, spoken: str, question: str, block: str
) -> Exchange:
    thinking = f"{looking_for(document, spoken)} Nothing says it."
    return Exchange(
        block + question,
        sometimes_without(r, thinking, UNREASONED),
        f"{spoken} is not in {document.name}.",
        bare=question,
        follow=_again(document, AND),
        recall=_again(document, LATER),
    )


def _reversed(r: random.Random, document: Document, block: str, named: bool) -> Exchange:
    """Return the question for the key of a value that stands in the file once."""
    values = [entry.value for entry in document.entries]
    entry = r.choice(document.entries)
    if values.count(entry.value) > 1 or len(entry.value) < 2:
        return question_about(r, document, block, named=named)
    question = finished(r, r.choice(REVERSED).format(entry.value), document.name, named=named)
    lines = document.body.split("\n")
    shown = next((each for each in lines if entry.value in each), "")
    if not shown:  # JSON writes some values in other characters
        return question_about(r, document, block, named=named)
    found = line_by_line(lines, lines.index(shown), entry.value)
    thinking = f"{looking_for(document, entry.value)} {found}"
    return _said(r, document, entry, question, block, thinking)
