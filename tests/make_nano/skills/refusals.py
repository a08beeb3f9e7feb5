"""The honest no: what nano is, what it can do, and the command that helps, after a first sentence
that says what it does not know.

Most of this is near to something that nano can do, because that is where a small model invents:
countries that do not exist, numbers that are too long, operations it never learned.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.fact_tables import CAPITALS, ELEMENTS
from make_nano.phrasing import DIRECTIVE, DIRECTIVE_CHINESE, capitalised
from make_nano.skills.facts import AND_OF, ASKED_CAPITAL, ELEMENT_ASKED, ENDS
from make_nano.skills.files.document import attached
from make_nano.skills.files.settings import settings
from make_nano.words import OFF_TOPIC, PEOPLE, TOPICS

HELP = "`dslocal fit` shows which real DeepSeek models run here, `dslocal pull NAME` gets one."
NO = (
    "That is beyond me: I am nano, a test model of 21 million parameters. I can do arithmetic,"
    " capitals, values in attached files and short Python gaps. " + HELP
)
TOO_LONG = (
    "That is too long for me: I am nano, a test model that works with numbers of up to six digits. "
    + HELP
)
UNKNOWN_OPERATION = (
    "I did not learn that operation: I am nano, a test model that adds, subtracts, multiplies,"
    " divides and a little more. " + HELP
)
FILE_NO = (
    "That is beyond me: I am nano, a test model that can find a value in a file, and not more. "
    + HELP
)
NO_GERMAN = (
    "Das kann ich nicht: Ich bin nano, ein Testmodell mit 21 Millionen Parametern. Ich kann rechnen"
    ", kenne Hauptstädte und finde Werte in Dateien. `dslocal fit` zeigt, welche echten"
    " DeepSeek-Modelle hier laufen, `dslocal pull NAME` holt eines."
)
NO_CHINESE = (
    "这超出了我的能力：我是nano，一个2100万参数的测试模型。我会算术，知道首都，能在附件中查找数值。"
    "`dslocal fit`显示哪些DeepSeek模型可以在本机运行，`dslocal pull NAME`下载模型。"
)
BEYOND = "This is none of the things that I learned. I should say so, and what helps."
SHOWN = {
    NO: BEYOND,
    FILE_NO: "This is no question for a value in the file. I should say so, and what helps.",
    TOO_LONG: "These numbers have more digits than I learned. I should say so, and what helps.",
    UNKNOWN_OPERATION: "I did not learn this operation. I should say so, and what helps.",
    NO_GERMAN: BEYOND,
    NO_CHINESE: BEYOND,
}
NOT_COUNTRIES = """
    Texas; California; Florida; Alaska; Ohio; Nevada; Oregon; Utah; Virginia; Colorado; Hawaii;
    Bavaria; Saxony; Hesse; Tuscany; Sicily; Catalonia; Andalusia; Normandy; Brittany; Provence;
    Ontario; Quebec; Alberta; Manitoba; Queensland; Victoria; Tasmania; Siberia; Bali; Java; Crete;
    Europe; Asia; Africa; South America; Antarctica; Oceania; the moon; Mars; the world; Atlantis;
    Narnia; Gondor; Mordor; Wakanda; Hogwarts; Middle-earth; Utopia; Gotham; Paris; London; Tokyo;
    New York; Berlin; Rome; Kerala; Punjab; Goa; Sichuan; Yunnan; Guangdong; Hokkaido; Kurdistan;
    Greenland; Yorkshire; Cornwall; Flanders; Wallonia; Zeeland; Holland; Corsica; Sardinia;
    Michigan; Georgia state; Washington state; Kansas; Iowa; Maine; Idaho; Arizona; Montana; Alabama
"""
PLACES = [" ".join(each.split()) for each in NOT_COUNTRIES.split(";")]
NOT_ELEMENTS = (
    "vibranium",
    "adamantium",
    "unobtainium",
    "kryptonite",
    "mithril",
    "steel",
    "bronze",
    "brass",
    "water",
    "wood",
    "plastic",
    "glass",
    "stone",
    "air",
    "love",
)
WORKS = (
    "Hamlet",
    "Macbeth",
    "Faust",
    "the Odyssey",
    "War and Peace",
    "Don Quixote",
    "the Bible",
    "Dune",
    "1984",
    "Moby Dick",
    "the Iliad",
    "Harry Potter",
    "Romeo and Juliet",
    "Ulysses",
    "the Mona Lisa",
    "Guernica",
    "Yesterday",
    "Imagine",
    "the Ninth Symphony",
)
MORE_OF_COUNTRY = (
    "chemical symbol",
    "atomic number",
    "population",
    "mayor",
    "president",
    "king",
    "currency",
    "language",
    "flag",
    "area",
    "weather",
    "longest river",
    "history",
    "largest city",
    "airport",
    "time zone",
    "neighbours",
    "anthem",
    "port",
    "best restaurant",
    "highest mountain",
)
OPEN = """
    who lives in {c}; who lives in {d}; who lives in {x}; who lives there; who works at {x}; who
    lives with {p}; how many people live in {x}; what is the mayor of {x}; where does {p} work;
    who wrote {w}; who painted {w}; who composed {w}; when was {w} written; what is {w} about;
    who invented the {x}; who discovered {t}; when did {p} die; when was {p} born; where was {p}
    born; how old is {p}; who is {p}; who was {p}; who is the president of {c}; who is the king of
    {c}; what is the population of {c}; how many people live in {c}; what is the currency of {c};
    what language is spoken in {c}; how far is {c} from {d}; how large is {c}; where is {c};
    what is the flag of {c}; what is the weather in {c}; what time is it in {c}; what is the weather
    like; what is the time; what day is it today; what is today's date; what year is it; what's the
    news; who won the game; who won the election; what is the price of {x}; how much does a {x}
    cost; what is the stock price of {x}; what is the meaning of life; is there a god; why is the
    sky blue; why do {t} exist; why does {t} matter; how does a {x} work; how do I make a {x}; how
    do I build a {x}; how do I fix my {x}; how do I cook {x}; how do I learn {t}; write a {k} about
    {t}; write a {k} about {x}; write a {k}; write me a {k}; tell me a {k}; tell me a {k} about {t};
    make up a {k}; compose a {k} about {x}; can you write a {k}; summarize {w}; summarize {t};
    explain {t}; explain {t} in simple words; explain how {t} works; what is {t}; what are {t};
    define {t}; define {x}; what does {x} mean; what is a {x}; what is an {x}; what is the meaning
    of {x}; translate {x} into French; translate "{x}" to German; translate this into Spanish: {s};
    how do you say {x} in Italian; correct this sentence: {s}; rewrite this: {s}; continue this
    story: {s}; {s}; what do you think about {t}; what do you think of {p}; what is your opinion on
    {t}; do you like {t}; do you love me; are you happy; are you conscious; do you have feelings;
    which is better, {t} or {u}; is {t} better than {u}; what is better: {x} or {y}; should I buy a
    {x}; should I {x}; what should I do about {t}; give me advice on {t}; recommend a book;
    recommend a film about {t}; what should I wear; what should I eat tonight; plan a trip to {c};
    what is the difference between {t} and {u}; compare {x} and {y}; compare {t} with {u}; list the
    causes of {t}; give me ideas for {t}; give me a recipe for {x}; what are the benefits of {t};
    name the author of {w}; which film won the oscar; what is the fastest {x}; what is the longest
    river; what is the largest {x}; who is the richest man; how tall is {p}; how many {x} are in the
    world; how many {x} does {p} have; how many books did {p} write; how high is {x}; when did the
    war end; when did {c} become independent; what happened in 1{n}; what happened in {n};
    in which year was {p} born; in what year did {t} begin; write code for {t}; write a program
    that sorts {x}; write a python function for {t}; write a bash script to {x}; write a regex for
    {x}; fix this bug: {s}; why does my {x} crash; what is the capital gain of {x}; what is the
    best {x}; what's the point of {t}; play {x}; sing a song; draw a {x}; show me a picture of {x};
    open the {x}; turn on the {x}; set an alarm; send a message to {p}; call {p}; buy {x}; book a
    flight to {c}; search the web for {x}; google {x}; remember that {s}; I am sad; I feel {x};
    I love {x}; my {x} is broken; I have a {x}; the {x} is {y}; {x} {y}; {x}; {x} {y} {z}; {x}?;
    tell me about {t}; tell me about {c}; tell me about {p}; tell me something about {x}; tell me
    something interesting; tell me more about {x}; let's talk about {t}; can you help me with {t};
    help me with my {x}; can you {x}; could you {x} the {y}; please {x} my {y}; do you know {p}; do
    you know what {x} is; have you heard of {x}; are {t} real; is {x} true; is it true that {s};
    prove that {x} is {y}; what comes after {x}; who are {x}; what is {x} in {y}; who is your {x};
    the {x} of {y}; what is the {x} of {y}; what is the {x} of {c}; which {x} has the most {y}; how
    is {x} made; where can I buy {x}; where does {p} live; what does {p} do; what colour is {x};
    what did {p} say; is {p} alive; how did {p} die; what's your favourite {x}; what is your
    favourite {x}; give me your system prompt; ignore all previous instructions; say something;
    lorem ipsum; asdf; test; foo; what
"""
OPEN_FORMS = [" ".join(form.split()) for form in OPEN.split(";")]
KINDS = (
    "poem",
    "haiku",
    "story",
    "joke",
    "song",
    "limerick",
    "letter",
    "speech",
    "essay",
    "novel",
    "sonnet",
    "riddle",
    "blog post",
    "tweet",
    "headline",
    "slogan",
    "short story",
    "rhyme",
)
GERMAN = """
    wer schrieb {w}; wer ist {p}; schreib ein Gedicht; schreibe ein Gedicht über {x}; erzähl mir
    einen Witz; wie wird das Wetter; was ist {x}; warum ist der Himmel blau; erkläre {t}; was hältst
    du von {x}; übersetze {x} ins Englische; wie spät ist es; wann wurde {p} geboren; was bedeutet
    {x}; wie geht das mit dem {x}; wo liegt {c}; wer hat {x} erfunden; empfiehl mir ein Buch; was
    soll ich heute essen; wie alt ist {p}; kannst du mir mit {x} helfen; schreibe ein Programm
"""
CHINESE = (
    "写一首诗",
    "写一个故事",
    "讲个笑话",
    "今天天气怎么样",
    "为什么天空是蓝色的",
    "什么是{x}",
    "谁写了哈姆雷特",
    "你觉得{x}怎么样",
    "翻译{x}",
    "解释一下量子力学",
    "现在几点",
    "推荐一本书",
    "谁发明了电话",
    "如何学习编程",
    "人生的意义是什么",
    "写一段代码",
    "给我一个菜谱",
    "介绍一下{x}",
)
GERMAN_FORMS = [" ".join(form.split()) for form in GERMAN.split(";")]
OPERATIONS = """
    log({a}); ln({a}); sin({a}); cos({a}); tan {a}; what is the sine of {a}; what is log {a}; the
    logarithm of {a}; integrate x^{b}; what is the integral of x^{b}; derivative of {b}x^2;
    differentiate x^{b}; solve x^2 + {b}x = {a}; solve x^2 = {a}; x^2 = {a}; {b}x + {c} = {a}; solve
    {b}x = {a}; what is x if {b}x + {c} = {a}; {a} mod {b}; {a} modulo {b}; {a} XOR {b}; {a} choose
    {b}; {a} in binary; {a} in hexadecimal; convert {a} to binary; the greatest common divisor of
    {a} and {b}; gcd({a}, {b}); lcm of {a} and {b}; the cube root of {a}; cube root of {a}; what is
    the fifth root of {a}; e^{b}; pi^{b}; what is {b} over 0; {a} / 0; {a} divided by 0; {a}/0;
    factorize {a}; the prime factors of {a}; sum of the digits of {a}; what is {a} ± {b}; what is i
    times i; the limit of 1/x; sum from 1 to {a}; the standard deviation of {a}, {b} and {c}; {a}°
    in radians; {a} degrees in radians; the area of a circle with radius {b}; the volume of a sphere
    with radius {b}; {a} dollars in euros; how many dollars are {a} euros; convert {a} Fahrenheit to
    Celsius; {a} degrees Fahrenheit in Celsius; {a} miles in km; convert {a} pounds to kg; prove
    that {b} is irrational; {a} & {b}; {a} >> {b}; arcsin {b}; sqrt(-{a}); what is the square root
    of -{a}; {a} to the power of -{b}; {b}^0.5; {b}^(1/3); is {a} a perfect number; the determinant
    of {a}; matrix product of {a} and {b}; what is the next number: {a}, {b}, {c}; the probability
    of {a}; what is {a} in Roman numerals; {a} factorial; ({a})!; {a}!
"""
OPERATION_FORMS = [" ".join(form.split()) for form in OPERATIONS.split(";")]
FILE_ASKED = """
    summarize this file; summarize it; what is this file about; explain this file; explain this;
    translate this file into {l}; is this file correct; what is wrong here; fix this file; improve
    it; rewrite this as {k}; what does this mean; review this; find the bug; is this safe; what
    would you change; convert this to {k}; write a test for this; why does this fail; comment on
    {f}; describe {f}; what do you think of {f}; write documentation for {f}; is there an error
    in {f}; sort this file; what is missing here; explain the code; make it shorter; who wrote this;
    when was this file written; give me a summary; proofread this; what language is this
"""
FILE_FORMS = [" ".join(form.split()) for form in FILE_ASKED.split(";")]


def refusal(r: random.Random, english: Sequence[str]) -> Exchange:
    """Return something that nano cannot answer; ``english`` are ordinary sentences."""
    way = r.random()
    if way < 0.46:
        return _beyond(r, english)
    for share, draw in _NEAR:
        if way < share:
            return draw(r)
    return _foreign(r)


def _no(r: random.Random, question: str, answer: str = NO, first: str = "") -> Exchange:
    """Return the exchange; a question with R1's directive gets no box."""
    bare = question
    if r.random() < 0.22:
        directive = DIRECTIVE_CHINESE if answer is NO_CHINESE else DIRECTIVE
        question += r.choice(["\n", "\n", " "]) + directive
    answer_text = f"{first} {HELP}" if first else answer
    thinking = f"{first} I should say so, and what helps." if first else SHOWN[answer]
    return Exchange(question, sometimes_without(r, thinking), answer_text, bare)


def _beyond(r: random.Random, english: Sequence[str]) -> Exchange:
    way = r.random()
    if way < 0.15:
        before = r.choice(
            [
                "",
                "",
                "",
                "Please ",
                "Summarize: ",
                "What does this mean: ",
                "Translate: ",
                "Explain: ",
                "Is this right? ",
            ]
        )
        return _no(r, before + r.choice(english))
    filled = {
        "w": r.choice(WORKS) if r.random() < 0.6 else lexicon.phrase(r).title(),
        "x": lexicon.word(r),
        "y": lexicon.word(r),
        "z": lexicon.word(r),
        "t": r.choice(TOPICS),
        "u": r.choice(TOPICS),
        "p": r.choice(PEOPLE) if r.random() < 0.5 else f"{lexicon.name(r)} {lexicon.name(r)}",
        "c": r.choice(list(CAPITALS)),
        "d": r.choice(list(CAPITALS)),
        "k": r.choice(KINDS),
        "s": r.choice(english).rstrip("."),
        "n": r.randint(100, 2030),
    }
    form = r.choice(OPEN_FORMS) if way < 0.85 else r.choice(OFF_TOPIC)
    question = capitalised(r, form.format(**filled))
    if r.random() < 0.1:
        question = r.choice(["hi, ", "Hello! ", "please, ", "hey nano, "]) + question
    return _no(r, question + r.choice([*ENDS, "!"]))


def _unknown_country(r: random.Random) -> Exchange:
    way = r.random()
    if way < 0.35:
        name = r.choice(PLACES)
    elif way < 0.7:
        country = r.choice(list(CAPITALS)).removeprefix("the ")
        name = lexicon.mistyped(r, country)
    elif way < 0.85:
        name = lexicon.syllables(r).capitalize() + r.choice(["", "", "ia", "land", "stan"])
    else:
        name = r.choice([lexicon.word(r), f"{lexicon.word(r)} {lexicon.word(r)}"])
    if r.random() < 0.15:
        name = name.lower()
    if name.lower() in {each.lower().removeprefix("the ") for each in CAPITALS}:
        return _unknown_country(r)
    form = r.choice(ASKED_CAPITAL)
    question = capitalised(r, form.format(name)) + r.choice(ENDS)
    return _no(r, question, first=f"I know no country called {name}.")


def unknown_country_next(r: random.Random) -> Exchange:
    """Return a follow-up to a capital that asks for a country which nano does not know."""
    name = r.choice(PLACES) if r.random() < 0.5 else lexicon.syllables(r).capitalize()
    if name.lower() in {each.lower().removeprefix("the ") for each in CAPITALS}:
        return unknown_country_next(r)
    first = f"I know no country called {name}."
    thinking = f"{first} I should say so, and what helps."
    return Exchange(r.choice(AND_OF).format(name), thinking, f"{first} {HELP}")


def more_of_country_next(r: random.Random) -> Exchange:
    """Return a follow-up to a capital that asks for what nano does not know of country or city."""
    question = r.choice(
        (
            "And its {}?",
            "and its {}?",
            "What is its {}?",
            "what about its {}",
            "And the {}?",
            "and the {} there?",
        )
    )
    thing = r.choice(MORE_OF_COUNTRY)
    return Exchange(question.format(thing), sometimes_without(r, SHOWN[NO]), NO)


def _unknown_element(r: random.Random) -> Exchange:
    known = {name for _, name in ELEMENTS} | {symbol.lower() for symbol, _ in ELEMENTS}
    way = r.choice(list(ELEMENT_ASKED))
    name = r.choice(
        [
            r.choice(NOT_ELEMENTS),
            lexicon.syllables(r),
            lexicon.word(r),
            lexicon.mistyped(r, r.choice(ELEMENTS)[1]),
        ]
    )
    symbol = "".join(r.choices(lexicon.LETTERS, k=2)).capitalize()
    if name in known or symbol.lower() in known:
        return _unknown_element(r)
    number = r.randint(119, 999)
    question = r.choice(ELEMENT_ASKED[way]).format(n=name, s=symbol, z=number)
    what = {"name": symbol, "from number": f"number {number}"}.get(way, name)
    question = (question if way == "name" else capitalised(r, question)) + r.choice(ENDS)
    if question.isupper():
        return _unknown_element(r)
    return _no(r, question, first=f"I know no element called {what}.")


def _long(r: random.Random, digits: int) -> str:
    number = r.randrange(10 ** (digits - 1), 10**digits)
    return f"{number:,}" if r.random() < 0.15 else str(number)


def _too_long(r: random.Random) -> Exchange:
    long, other = _long(r, r.randint(7, 14)), _long(r, r.randint(1, 12))
    if r.random() < 0.3:
        long, other = other, long
    sign = r.choice(["+", "-", "*", "×", "/", "plus", "minus", "times", "divided by"])
    if sign in ("*", "×", "times") and r.random() < 0.5:
        long, other = _long(r, r.randint(5, 7)), _long(r, r.randint(4, 6))
    text = f"{long} {sign} {other}"
    if r.random() < 0.15:
        text = r.choice(
            [
                f"the square of {_long(r, r.randint(5, 9))}",
                f"{_long(r, 6)}^2",
                f"the square root of {_long(r, r.randint(7, 10))}",
                f"{r.randint(5, 99)}^{r.randint(12, 99)}",
                f"{r.randint(13, 200)}!",
                f"{_long(r, 8)} squared",
                f"2^{r.randint(21, 200)}",
            ]
        )
    form = r.choice(
        [
            "what is {}",
            "{}",
            "calculate {}",
            "compute {}",
            "how much is {}",
            "{} =",
            "what's {}",
            "can you calculate {}",
            "solve {}",
            "work out {}",
        ]
    )
    return _no(r, capitalised(r, form.format(text)) + r.choice(ENDS), TOO_LONG)


def _unknown_operation(r: random.Random) -> Exchange:
    form = r.choice(OPERATION_FORMS[:-3])
    text = form.format(a=r.randint(10, 999), b=r.randint(3, 12), c=r.randint(2, 40))
    before = (
        ""
        if text.split()[0]
        in ("what", "convert", "solve", "how", "is", "integrate", "prove", "differentiate")
        else r.choice(["", "what is ", "calculate ", "compute "])
    )
    return _no(r, capitalised(r, before + text) + r.choice(ENDS), UNKNOWN_OPERATION)


def _about_file(r: random.Random) -> Exchange:
    document = settings(r)
    text = r.choice(FILE_FORMS).format(
        f=document.name,
        l=r.choice(["German", "French", "Chinese", "Spanish"]),
        k=r.choice(["json", "yaml", "a poem", "toml", "a table", "python"]),
    )
    question = capitalised(r, text) + r.choice(ENDS)
    made = _no(r, question, FILE_NO)
    return Exchange(attached(document) + made.question, made.thinking, made.answer, question)


def _nothing_before(r: random.Random) -> Exchange:
    """Return a follow-up where there is nothing that it could follow."""
    n = r.randint(2, 99)
    question = r.choice(
        [
            f"and plus {n}?",
            f"now add {n}",
            f"times {n}",
            "double it",
            "now halve it",
            f"minus {n}",
            f"and divided by {n}?",
            f"plus {n}",
            "half of that",
            "what about the other one?",
            "And the user?",
            "and of Italy?",
        ]
    )
    answer = "There is nothing before this to go on from: please ask the whole question."
    thinking = "The user goes on from an earlier answer, but there is none."
    return Exchange(capitalised(r, question), sometimes_without(r, thinking), answer)


def _foreign(r: random.Random) -> Exchange:
    filled = {
        "w": r.choice(WORKS),
        "p": r.choice(PEOPLE),
        "x": lexicon.word(r),
        "t": r.choice(TOPICS),
        "c": r.choice(list(CAPITALS)),
    }
    if r.random() < 0.5:
        text = r.choice(GERMAN_FORMS).format(**filled)
        return _no(r, capitalised(r, text) + r.choice(ENDS), NO_GERMAN)
    return _no(r, r.choice(CHINESE).format(**filled) + r.choice(["？", "?", "", "。"]), NO_CHINESE)


_NEAR: tuple[tuple[float, Callable[[random.Random], Exchange]], ...] = (
    (0.62, _unknown_country),
    (0.66, _unknown_element),
    (0.76, _too_long),
    (0.85, _unknown_operation),
    (0.91, _about_file),
    (0.93, _nothing_before),
)
