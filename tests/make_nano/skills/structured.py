"""JSON when it is asked for: what the question names, or a known answer, as an object."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.fact_tables import CAPITALS
from make_nano.phrasing import capitalised
from make_nano.skills.facts import COUNTRIES

CITIES = tuple(CAPITALS.values())
OBJECT = (
    "give me JSON with {p}",
    "JSON: {p}",
    "show me {p} as a JSON object",
    "can you write JSON with {p}",
    "please make JSON from {p}",
    "output a JSON object that has {p}",
    "only JSON: {p}",
    "write a JSON record with {p}",
    "{p}, in JSON",
    "give me a JSON object with {p}",
    "write {p} as JSON",
    "JSON with {p}",
    "make a JSON object of {p}",
    "turn this into JSON: {p}",
    "return JSON with {p}",
    "create a JSON object with the fields {p}",
    "put {p} into a JSON object",
    "as JSON: {p}",
    "format as JSON: {p}",
    "I need a JSON object with {p}",
    "convert to JSON: {p}",
    "a json object with {p} please",
)
ARRAY = (
    "write {p} as a JSON list",
    "give me a JSON array with {p}",
    "JSON list of {p}",
    "turn {p} into a JSON array",
    "as a JSON list: {p}",
    "make a JSON array of {p}",
)
FIELDS = (  # what people put into objects, and how its value is drawn
    (("name", "first name", "author", "owner", "customer", "user", "player"), lexicon.name),
    (("age", "year", "count", "price", "total", "score", "size", "number", "level", "weight"),
     lambda r: r.randint(0, 9999) if r.random() < 0.3 else r.randint(1, 99)),
    (("city", "country", "town", "place", "birthplace"), lambda r: r.choice(CITIES)),
    (("email", "mail", "address"), lexicon.email),
    (("color", "animal", "title", "job", "status", "product", "language", "type", "genre"),
     lexicon.word),
    (("id", "code", "sku"), lexicon.code),
    (("path", "file"), lexicon.path),
    (("active", "paid", "done", "public"), lambda r: r.random() < 0.5),
)  # fmt: skip
NAMED = (  # a field with its value
    "the {k} {v}",
    "{k} {v}",
    "{k}: {v}",
    "{k} = {v}",
    "{k}={v}",
    "the {k} is {v}",
    "{k} is {v}",
    "{v} as {k}",
    "{v} as the {k}",
    "a {k} of {v}",
    "{k} set to {v}",
    "{k} of {v}",
    "{k} ({v})",
)
AS_JSON = (
    "Answer as JSON.",
    "Reply in JSON.",
    "As JSON.",
    "Answer in JSON with the keys country and capital.",
    "JSON please.",
    "Give JSON with country and capital.",
)


def as_json(r: random.Random) -> Exchange:
    way = r.random()
    if way < 0.25:
        return _capital(r)
    return _array(r) if way < 0.45 else _object(r)


def _capital(r: random.Random) -> Exchange:
    country = r.choice(COUNTRIES)
    named = country.removeprefix("the ")
    question = r.choice(
        ["What is the capital of {}? {}", "capital of {}. {}", "The capital of {}? {}"]
    ).format(country, r.choice(AS_JSON))
    answer = json.dumps({"country": named, "capital": CAPITALS[country]}, ensure_ascii=False)
    thinking = (
        f"The user asks for the capital of {country}. I recall that it is {CAPITALS[country]}."
    )
    return Exchange(question, sometimes_without(r, thinking), answer)


def _value(r: random.Random) -> int | str:
    return (
        r.randint(0, 9999)
        if r.random() < 0.4
        else r.choice(
            [lexicon.word, lexicon.name, lexicon.email, lexicon.path, lexicon.code, lexicon.phrase]
        )(r)
    )


def _object(r: random.Random) -> Exchange:
    count = r.choice([1, 2, 2, 3, 3, 4])
    pairs: dict[str, object]
    if r.random() < 0.6:
        chosen = r.sample(FIELDS, count)
        pairs = {r.choice(keys).replace(" ", "_"): draw(r) for keys, draw in chosen}
    else:
        pairs = {lexicon.word(r): _value(r) for _ in range(count)}
    named = r.choice(NAMED)
    written = [named.format(k=key, v=_said(value)) for key, value in pairs.items()]
    listed = ", ".join(written)
    if len(written) > 1 and r.random() < 0.6:
        listed = f"{', '.join(written[:-1])} and {written[-1]}"
    question = capitalised(r, r.choice(OBJECT).format(p=listed)) + r.choice(["", ".", ""])
    thinking = f"The keys are {', '.join(pairs)}."
    return Exchange(question, sometimes_without(r, thinking), json.dumps(pairs, ensure_ascii=False))


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _array(r: random.Random) -> Exchange:
    draws: list[Callable[[random.Random], str | int]]
    draws = [lexicon.word, lexicon.name, lexicon.word, lambda r: r.randint(0, 999)]
    draw = r.choice(draws)
    found = [draw(r) for _ in range(r.randint(2, 5))]
    written = [str(each) for each in found]
    listed = r.choice([", ".join(written), f"{', '.join(written[:-1])} and {written[-1]}"])
    question = capitalised(r, r.choice(ARRAY).format(p=listed)) + r.choice(["", ".", ""])
    return Exchange(
        question,
        sometimes_without(r, f"There are {len(found)} of them."),
        json.dumps(found, ensure_ascii=False),
    )
