"""Calls of tools in the format of DeepSeek-V3 and R1: which one, with what, and what came of it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.fact_tables import CAPITALS
from make_nano.markup import EOS
from make_nano.phrasing import capitalised
from make_nano.skills.facts import ENDS
from make_nano.skills.refusals import HELP

HELPFUL = "You are a helpful Assistant."
CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
OUTPUTS, OUTPUTS_END = "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"
OUTPUT, OUTPUT_END = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
Draw = Callable[[random.Random], Any]


@dataclass(frozen=True)
class Kind:
    """A tool in its variants.

    Attributes:
        names: What it may be called.
        descriptions: What it may say about itself.
        parameters: Its parameters: names, JSON type, how a value is drawn.
        questions: How one asks for it; ``{0}`` is the first parameter's value.
        result: What it returns for a call.
    """

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    parameters: tuple[tuple[tuple[str, ...], str, Draw], ...]
    questions: tuple[str, ...]
    result: Draw


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    parameters: tuple[tuple[str, str, Draw], ...]
    questions: tuple[str, ...]
    result: Draw

    def declaration(self, r: random.Random, described: bool) -> str:
        """Return how the format declares it, now and then with a parameter that nobody fills."""
        properties: dict[str, dict[str, Any]] = {}
        for name, kind, _ in self.parameters:
            properties[name] = {"type": kind}
            if described:
                form = r.choice(["The {}", "{}", "the {} to use", "{} as text", "A {}"])
                properties[name]["description"] = form.format(name.replace("_", " "))
        if r.random() < 0.2:
            name, more = r.choice(OPTIONAL)
            properties.setdefault(name, more)
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        schema["required"] = [name for name, _, _ in self.parameters]
        function = {"name": self.name, "description": self.description, "parameters": schema}
        text = json.dumps(function, ensure_ascii=False, indent=4)
        return f"\n- `{self.name}`:\n```json\n{text}\n```\n"

    def draw(self, r: random.Random) -> tuple[str, dict[str, Any]]:
        """Return a question for it and the arguments that the question names."""
        values = [draw(r) for _, _, draw in self.parameters]
        question = r.choice(self.questions).format(*values)
        names = (name for name, _, _ in self.parameters)
        return question, dict(zip(names, values, strict=True))


def _city(r: random.Random) -> str:
    way = r.random()
    if way < 0.5:
        return r.choice(list(CAPITALS.values()))
    return lexicon.syllables(r).capitalize()


def _amount(r: random.Random) -> int:
    return r.randint(1, 999)


def _operand(r: random.Random) -> int | float:
    if r.random() < 0.2:
        return round(r.uniform(0, 100), r.choice([1, 2]))
    return r.randint(0, 10 ** r.randint(1, 5))


def _result(r: random.Random) -> str:
    return str(_operand(r))


def _currency(r: random.Random) -> str:
    return r.choice(["EUR", "USD", "GBP", "JPY", "CHF", "CNY", "SEK", "PLN"])


def _weather(r: random.Random) -> str:
    sky = r.choice(["sunny", "cloudy", "rain", "snow", "fog", "windy"])
    degrees = r.randint(-10, 38)
    return r.choice(
        [f"{degrees} C, {sky}", f"{degrees}°C", json.dumps({"temperature": degrees, "sky": sky})]
    )


def _record(r: random.Random) -> str:
    pairs = {lexicon.word(r): r.choice([lexicon.value(r), r.randint(1, 999)]) for _ in range(2)}
    return json.dumps(pairs, ensure_ascii=False)


def _short(r: random.Random) -> str:
    return r.choice([lexicon.phrase(r), lexicon.value(r), _record(r), str(_amount(r))])


def _done(r: random.Random) -> str:
    return r.choice(["ok", "done", '{"status": "ok"}', '{"ok": true}', f"id {_amount(r)}"])


CITY = (("city", "location", "place", "town"), "string", _city)
OPTIONAL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("unit", {"type": "string", "enum": ["celsius", "fahrenheit"]}),
    ("limit", {"type": "integer", "description": "At most this many"}),
    ("verbose", {"type": "boolean"}),
    ("lang", {"type": "string", "description": "Language of the answer"}),
    ("format", {"type": "string", "enum": ["text", "json"]}),
)
KINDS = (
    Kind(
        ("get_weather", "weather", "current_weather", "getWeather"),
        (
            "Get the current weather in a city.",
            "Return the weather for a place.",
            "Current weather",
            "Get weather of a location",
        ),
        (CITY,),
        (
            "what is the weather in {0}",
            "what's the weather like in {0}",
            "weather in {0}",
            "how is the weather in {0}",
            "is it raining in {0}",
            "how warm is it in {0}",
            "what is the temperature in {0}",
            "do I need an umbrella in {0}",
        ),
        _weather,
    ),
    Kind(
        ("get_forecast", "forecast"),
        ("Get the weather forecast for some days.",),
        (CITY, (("days", "n_days"), "integer", lambda r: r.randint(2, 10))),
        (
            "give me the forecast for {0} for {1} days",
            "what will the weather be in {0} in the next {1} days",
            "forecast for {0}, {1} days",
        ),
        _weather,
    ),
    Kind(
        ("get_time", "current_time", "time_in"),
        ("Get the current time in a city.", "Return the local time"),
        (CITY,),
        (
            "what time is it in {0}",
            "what is the time in {0}",
            "tell me the time in {0}",
            "how late is it in {0}",
        ),
        lexicon.clock,
    ),
    Kind(
        ("convert_currency", "exchange", "currency_convert"),
        ("Convert an amount from one currency to another.",),
        (
            (("amount", "value"), "number", _amount),
            (("from", "source", "from_currency"), "string", _currency),
            (("to", "target", "to_currency"), "string", _currency),
        ),
        (
            "how much is {0} {1} in {2}",
            "convert {0} {1} to {2}",
            "what is {0} {1} in {2}",
            "change {0} {1} into {2}",
        ),
        lambda r: f"{_amount(r)}.{r.randint(10, 99)}",
    ),
    Kind(
        ("get_stock_price", "stock_price", "quote"),
        ("Get the price of a stock by its symbol.",),
        ((("symbol", "ticker"), "string", lambda r: lexicon.letters(r, 3, 5).upper()),),
        (
            "what is the stock price of {0}",
            "price of {0} stock",
            "how is {0} trading",
            "what does a share of {0} cost",
            "how much is a {0} share",
        ),
        lexicon.decimal,
    ),
    Kind(
        ("search", "web_search", "search_web"),
        ("Search the web.", "Search the internet for a query"),
        ((("query", "q", "text"), "string", lexicon.phrase),),
        (
            "search for {0}",
            "search the web for {0}",
            "look up {0} on the web",
            "find something about {0}",
            "google {0}",
        ),
        _short,
    ),
    Kind(
        ("send_email", "email", "mail"),
        ("Send an e-mail.", "Send an email to someone"),
        (
            (("to", "recipient"), "string", lexicon.email),
            (("subject", "title"), "string", lexicon.phrase),
        ),
        (
            "send an email to {0} with the subject {1}",
            "write to {0}, subject: {1}",
            "mail {0} about {1}",
            "send {0} an e-mail about {1}",
        ),
        _done,
    ),
    Kind(
        ("create_event", "add_event", "schedule"),
        ("Create an event in the calendar.", "Add an appointment to the calendar"),
        (
            (("title", "name", "summary"), "string", lexicon.word),
            (("date", "day"), "string", lexicon.date),
        ),
        (
            "create an event {0} on {1}",
            "put {0} into my calendar for {1}",
            "schedule {0} on {1}",
            "add {0} on {1} to the calendar",
        ),
        _done,
    ),
    Kind(
        ("add", "sum", "add_numbers", "plus"),
        ("Add two numbers.", "Return the sum of two numbers", "Adds a and b"),
        ((("a", "x", "first"), "number", _operand), (("b", "y", "second"), "number", _operand)),
        (
            "add {0} and {1}",
            "add {0} to {1}",
            "what is {0} + {1}",
            "sum of {0} and {1}",
            "add up {0} and {1} please",
            "use the tool to add {0} and {1}",
        ),
        _result,
    ),
    Kind(
        ("multiply", "mul", "times", "product"),
        ("Multiply two numbers.", "Return the product of two numbers"),
        ((("a", "x", "first"), "number", _operand), (("b", "y", "second"), "number", _operand)),
        (
            "multiply {0} by {1}",
            "multiply {0} and {1}",
            "what is {0} times {1}",
            "product of {0} and {1}",
            "use the tool to multiply {0} with {1}",
        ),
        _result,
    ),
    Kind(
        ("random_number", "roll", "random_integer", "dice"),
        ("Draw a random number between two bounds.", "Return a random integer"),
        (
            (("low", "min", "from"), "integer", lambda r: r.randint(0, 20)),
            (("high", "max", "to"), "integer", lambda r: r.randint(21, 1000)),
        ),
        (
            "a random number between {0} and {1}",
            "roll a number from {0} to {1}",
            "draw a number between {0} and {1} please",
        ),
        _result,
    ),
    Kind(
        ("set_timer", "timer", "start_timer"),
        ("Start a timer.", "Set a timer for some minutes"),
        ((("minutes", "duration"), "integer", lambda r: r.randint(1, 90)),),
        (
            "set a timer for {0} minutes",
            "wake me in {0} minutes",
            "timer {0} minutes",
            "start a timer of {0} minutes",
        ),
        _done,
    ),
    Kind(
        ("add_todo", "create_task", "add_task", "remember"),
        ("Add a task to the list.",),
        ((("task", "text", "item"), "string", lexicon.phrase),),
        (
            "add {0} to my tasks",
            "put {0} on the list",
            "remember {0}",
            "new task: {0}",
            "remind me of {0}",
        ),
        _done,
    ),
    Kind(
        ("set_light", "switch_light", "light"),
        ("Switch a light on or off.",),
        (
            (
                ("room", "where"),
                "string",
                lambda r: r.choice(["kitchen", "bedroom", "hall", "bath", lexicon.word(r)]),
            ),
            (("state", "power"), "string", lambda r: r.choice(["on", "off"])),
        ),
        (
            "turn the light in the {0} {1}",
            "switch the {0} light {1}",
            "light {1} in the {0}",
            "{0} light {1}, please",
        ),
        _done,
    ),
    Kind(
        ("play_music", "play", "play_song"),
        ("Play a song.", "Play music by its title"),
        ((("title", "song"), "string", lexicon.phrase),),
        ("play {0}", "play the song {0}", "I want to hear {0}", "put on {0}"),
        _done,
    ),
    Kind(
        ("read_file", "open_file", "cat"),
        ("Read a file.", "Return the content of a file"),
        ((("path", "file", "filename"), "string", lexicon.path),),
        ("read {0}", "what is in {0}", "show me the file {0}", "open {0}", "print {0}"),
        _short,
    ),
    Kind(
        ("list_files", "ls", "list_directory"),
        ("List the files of a folder.",),
        ((("path", "folder", "directory"), "string", lexicon.path),),
        (
            "list the files in {0}",
            "what files are in {0}",
            "which files does {0} have",
            "show the folder {0}",
        ),
        _short,
    ),
    Kind(
        ("run_command", "shell", "execute"),
        ("Run a shell command.",),
        (
            (
                ("command", "cmd"),
                "string",
                lambda r: f"{lexicon.letters(r, 2, 5)} {lexicon.path(r)}",
            ),
        ),
        ("run {0}", "execute {0}", "run the command {0}", "please run: {0}"),
        _short,
    ),
    Kind(
        ("translate", "translate_text"),
        ("Translate a text into a language.",),
        (
            (("text",), "string", lexicon.phrase),
            (
                ("language", "target", "to"),
                "string",
                lambda r: r.choice(["French", "German", "Chinese", "Spanish", "Italian"]),
            ),
        ),
        ("translate {0} into {1}", "what is {0} in {1}", "how do you say {0} in {1}"),
        _short,
    ),
    Kind(
        ("calculate", "calculator", "eval_math", "compute"),
        ("Evaluate an arithmetic expression.", "Calculate the value of an expression"),
        (
            (
                ("expression", "expr", "formula"),
                "string",
                lambda r: f"{_amount(r)} {r.choice('+-*/')} {_amount(r)}",
            ),
        ),
        ("what is {0}", "calculate {0}", "{0}", "how much is {0}", "compute {0}, please"),
        lambda r: str(_amount(r)),
    ),
    Kind(
        ("get_user", "find_user", "lookup_user"),
        ("Look up a user by name.",),
        ((("name", "user", "username"), "string", lexicon.name),),
        ("who is the user {0}", "look up the user {0}", "find user {0}", "show the user {0}"),
        _record,
    ),
    Kind(
        ("get_order", "order_status", "track_order"),
        ("Get the status of an order.",),
        ((("order_id", "id", "number"), "string", lexicon.code),),
        (
            "where is my order {0}",
            "what is the status of order {0}",
            "track order {0}",
            "order {0}",
        ),
        _record,
    ),
    Kind(
        ("query_database", "run_sql", "query"),
        ("Run a query on the database.",),
        (
            (
                ("sql", "query"),
                "string",
                lambda r: f"SELECT {lexicon.word(r)} FROM {lexicon.word(r)}",
            ),
        ),
        ("run the query {0}", "{0}", "ask the database: {0}"),
        _record,
    ),
    Kind(
        ("get_distance", "distance", "route"),
        ("Get the distance between two places.",),
        (
            (("from", "origin", "start"), "string", _city),
            (("to", "destination", "end"), "string", _city),
        ),
        (
            "how far is it from {0} to {1}",
            "distance from {0} to {1}",
            "how many km are it from {0} to {1}",
            "route from {0} to {1}",
        ),
        lambda r: f"{_amount(r)} km",
    ),
    Kind(
        ("book_table", "reserve", "book_restaurant"),
        ("Book a table in a restaurant.",),
        (
            (("restaurant", "name"), "string", lambda r: lexicon.word(r).capitalize()),
            (("people", "guests", "seats"), "integer", lambda r: r.randint(1, 12)),
        ),
        ("book a table at {0} for {1}", "reserve {0} for {1} people", "a table for {1} at {0}"),
        _done,
    ),
    Kind(
        ("random_number", "roll"),
        ("Return a random number.",),
        ((("max", "highest"), "integer", _amount),),
        ("give me a random number up to {0}", "random number below {0}", "roll a number up to {0}"),
        lambda r: str(_amount(r)),
    ),
)
VERBS = ("get", "find", "fetch", "lookup", "show", "read", "check", "load")


def _made_up(r: random.Random) -> Tool:
    """Return a tool that nobody has heard of, which only its name and description explain."""
    verb = r.choice(VERBS)
    thing, key = lexicon.word(r), lexicon.word(r)
    name = r.choice([f"{verb}_{thing}", f"{thing}_{verb}", f"{verb}{thing.capitalize()}", thing])
    description = r.choice(
        [
            f"{verb.capitalize()} the {thing} of a {key}.",
            f"Return the {thing} for a {key}",
            f"{thing.capitalize()} by {key}",
            f"{verb.capitalize()} a {thing}",
        ]
    )
    draw, kind = r.choice(
        [
            (lexicon.word, "string"),
            (lexicon.code, "string"),
            (lexicon.name, "string"),
            (_amount, "integer"),
            (_city, "string"),
        ]
    )
    questions = (
        f"what is the {thing} of {{0}}",
        f"{verb} the {thing} of {{0}}",
        f"{thing} of {{0}}",
        f"{verb} the {thing} for {{0}}",
        f"which {thing} has {{0}}",
        f"I need the {thing} of {{0}}",
        f"tell me the {thing} of the {key} {{0}}",
        f"what {thing} does the {key} {{0}} have",
    )
    return Tool(name, description, ((key, kind, draw),), questions, _short)


def _tools(r: random.Random) -> list[Tool]:
    found = []
    for kind in r.sample(KINDS, r.choice([1, 1, 2, 2, 3, 4])):
        if r.random() < 0.3:
            found.append(_made_up(r))
            continue
        found.append(_variant(r, kind))
    return list({tool.name: tool for tool in found}.values())


def _variant(r: random.Random, kind: Kind) -> Tool:
    return Tool(
        r.choice(kind.names),
        r.choice(kind.descriptions),
        tuple((r.choice(names), type_, draw) for names, type_, draw in kind.parameters),
        kind.questions,
        kind.result,
    )


def declared(r: random.Random, tools: Sequence[Tool]) -> str:
    """Return the declaration of tools, as the format of R1 has it in front of the question."""
    described = r.random() < 0.4
    functions = "".join(tool.declaration(r, described) for tool in tools)
    system = r.choice([HELPFUL, HELPFUL, HELPFUL, "Be brief.", "You are a helpful assistant."])
    return (
        f"{system}\n\n## Tools\n\n### Function\n\nYou have the following functions available:\n"
        f"{functions}"
    )


def call_text(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return calls as the format of V3 and R1 has them."""
    written = (
        f"{CALL}function{SEPARATOR}{name}\n```json\n{json.dumps(arguments, ensure_ascii=False)}\n"
        f"```{CALL_END}"
        for name, arguments in calls
    )
    return CALLS + "\n".join(written) + CALLS_END


def tool_use(r: random.Random, other: Callable[[random.Random], Exchange]) -> Exchange:
    """Return a question beside tools: one call, two at once, the answer to results, or no call.

    Args:
        r: Where chance comes from.
        other: Draws a question for which no tool is needed.
    """
    tools = _tools(r)
    system = declared(r, tools)
    way = r.random()
    calculates = any(re.search("xpression|numbers|and b", tool.description) for tool in tools)
    if way < 0.2 and not calculates:
        return replace(other(r), system=system)
    if way < 0.28:
        return _none_fits(r, tools, system)
    tool = r.choice(tools)
    question, arguments = tool.draw(r)
    calls = [(tool, arguments)]
    if way > 0.8:
        question, calls = _parallel(r, tool, question, arguments, tools)
    question = capitalised(r, question) + r.choice(ENDS)
    written = call_text([(each.name, given) for each, given in calls])
    named = " and ".join(
        f"{each.name} with {', '.join(f'{key} {value}' for key, value in given.items())}"
        for each, given in calls
    )
    thinking = f"There is a tool for this. I call {named}."
    if r.random() < 0.35:
        results, said = _results(r, calls)
        return Exchange(question, None, written, "", system, continued=f"{results}{said}{EOS}")
    return Exchange(question, sometimes_without(r, thinking), written, "", system)


def _none_fits(r: random.Random, tools: Sequence[Tool], system: str) -> Exchange:
    """Return a question for a tool that is not there."""
    declared_here = " ".join(f"{tool.name} {tool.description}" for tool in tools)
    while True:
        kind = r.choice(KINDS)
        is_sum = any("xpression" in each for each in kind.descriptions)  # nano does these itself
        if not is_sum and not any(
            name in declared_here for name in (*kind.names, *kind.descriptions)
        ):
            break
    question, _ = _variant(r, kind).draw(r)
    first = "None of the tools can do that."
    thinking = f"I look for a tool for this. {first} I should say so."
    return Exchange(
        capitalised(r, question) + r.choice(ENDS),
        sometimes_without(r, thinking),
        f"{first} {HELP}",
        "",
        system,
    )


def _parallel(
    r: random.Random, tool: Tool, question: str, arguments: dict[str, Any], tools: Sequence[Tool]
) -> tuple[str, list[tuple[Tool, dict[str, Any]]]]:
    """Return a question that needs two calls, of one tool or of two."""
    calls = [(tool, arguments)]
    if len(arguments) == 1 and r.random() < 0.6:
        ((name, _, draw),) = tool.parameters
        first = next(iter(arguments.values()))
        for value in dict.fromkeys((draw(r), draw(r))):
            if value == first:
                continue
            calls.append((tool, {name: value}))
            question = question.replace(str(first), f"{first} and {value}", 1)
            first = value
            if r.random() < 0.7:
                break
        if len(calls) == 3:
            question = question.replace(" and ", ", ", 1)
        return question, calls
    others = [each for each in tools if each is not tool]
    if others:
        other = r.choice(others)
        second, given = other.draw(r)
        calls.append((other, given))
        question += r.choice([" and ", "? And ", ", and then ", " and also "]) + second
    return question, calls


def _results(r: random.Random, calls: Sequence[tuple[Tool, Mapping[str, Any]]]) -> tuple[str, str]:
    """Return what the tools gave, as history, and the answer that repeats it."""
    results, said = [], []
    for tool, arguments in calls:
        result = tool.result(r)
        first = next(iter(arguments.values()))
        if r.random() < 0.07:
            result = r.choice(["not found", "timeout", "no such " + tool.parameters[0][0]])
            result = r.choice([f"error: {result}", json.dumps({"error": result})])
        results.append(f"{OUTPUT}{result}{OUTPUT_END}")
        said.append(_said(first, result))
    return OUTPUTS + "".join(results) + OUTPUTS_END, "\n".join(said)


def _said(first: Any, result: str) -> str:
    """Return a result in words: an object's fields one after the other, anything else as it is."""
    try:
        tree = json.loads(result)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        return f"{first}: {result}"
    return f"{first}: " + ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in tree.items()
    )
