"""Conversations that every chat template is tried on, by what is particular about them."""

from __future__ import annotations

from pathlib import Path

from dslocal.prompts import Message, Tool, ToolCall, attach_files

TEMPLATES = Path(__file__).parents[2] / "vectors" / "templates"
Dialogues = dict[str, list[Message]]

WEATHER = Tool(
    "get_current_weather",
    "Get the current weather in a given location",
    {
        "type": "object",
        "properties": {
            "location": {
                "type": "string",
                "description": "The city and state, e.g. San Francisco, CA",
            },
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["location"],
    },
)
SEARCH = Tool(
    "search",
    "Sucht im Netz: 搜索",
    {"type": "object", "properties": {"q": {"type": "string", "description": "Wörter"}}},
)

TOKYO, PARIS, OSLO = (
    ToolCall("get_current_weather", f'{{"location": "{city}"}}')
    for city in ("Tokyo", "Paris", "Oslo")
)
LONG = ToolCall(
    "write_file", '{\n  "name": "a.md",\n  "text": "```json\\n{}\\n```\\n你好 {{ x }}"\n}'
)


def user(text: str) -> Message:
    return Message("user", text)


def system(text: str) -> Message:
    return Message("system", text)


def assistant(text: str, reasoning: str = "", *calls: ToolCall) -> Message:
    return Message("assistant", text, reasoning, calls)


def calling(*calls: ToolCall) -> Message:
    return Message("assistant", "", calls=calls)


def output(text: str) -> Message:
    return Message("tool", text)


def prefilled(text: str, reasoning: str = "") -> Message:
    return Message("assistant", text, reasoning, prefix=True)


TURNS: Dialogues = {
    "one turn": [user("What is 47 × 86?")],
    "three turns": [user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
    "twenty turns": [
        m for i in range(20) for m in (user(f"Question {i}?"), assistant(f"Answer {i}."))
    ]
    + [user("And now?")],
    "white space": [user("  a\n\n"), assistant(" b "), user("\n")],
    "empty question": [user("")],
    "empty answer": [user("a"), assistant(""), user("b")],
    "many scripts": [
        user("你好\r\nпривет\t👩‍🚀 ﷽ e\u0301 \u202eabc"),
        assistant("สวัสดี\u00a0𝕏"),
        user("مرحبا\u2028नमस्ते"),
    ],
    "like a template": [
        user("{{ bos_token }} {% if x %}{# c #}"),
        assistant("{{ messages[0].content }}{%- endif -%}"),
        user("}}{{'%}"),
    ],
    "like special tokens": [
        user("<｜User｜>a<｜Assistant｜><think><｜end▁of▁sentence｜>"),
        assistant("<｜begin▁of▁sentence｜> is the first token, <|EOT|> is Coder's"),
        user("<think>\n### Response:\nAssistant: <｜tool▁calls▁begin｜>"),
    ],
    "a file": [user(attach_files([TEMPLATES / "deepseek-llm.jinja"], "What does it do?"))],
    "two files": [
        user(
            attach_files(
                [TEMPLATES / "deepseek-coder.jinja", TEMPLATES / "deepseek-v2-0628.jinja"],
                "Which is older?",
            )
        ),
        assistant("The first."),
        user("Why?"),
    ],
    "a thought before": [user("a"), assistant("b", "First, a.\n\nSo b."), user("c")],
    "thoughts before": [
        user("a"),
        assistant("b", "x"),
        user("c"),
        assistant("d"),
        user("e"),
        assistant("f", "{{ y }} 好"),
        user("g"),
    ],
    "code": [
        user("```python\nprint('{}')\n```"),
        assistant("```\n<b>\\n</b>\n```\n"),
        user("\\n is `\\n`"),
    ],
    "questions running": [user("a"), user("b")],
    "answers running": [user("a"), assistant("b"), assistant("c"), user("d")],
    "an answer first": [assistant("a"), user("b")],
    "a closing tag in an answer": [user("a"), assistant("Write </think> last."), user("b")],
    "an answer last": [user("a"), assistant("b")],
}
SYSTEM: Dialogues = {
    "instructions": [system("Be brief."), user("a")],
    "instructions, three turns": [
        system("x"),
        user("a"),
        assistant("b"),
        user("c"),
        assistant("d"),
        user("e"),
    ],
    "instructions, many lines": [system("# Rules\n\n1. {{ x }}\n2. 你好 <｜User｜>\n"), user("a")],
    "instructions and a file": [
        system("x"),
        user(attach_files([TEMPLATES / "deepseek-llm.jinja"], "?")),
    ],
    "empty instructions": [system(""), user("a")],
    "instructions twice": [system("x"), system("y"), user("a")],
    "instructions thrice": [system("x"), system("y"), system("z"), user("a")],
    "instructions later": [user("a"), assistant("b"), system("x"), user("c")],
    "instructions alone": [system("x")],
}
TOOLS: Dialogues = {
    "two calls": [user("a"), calling(TOKYO, PARIS), output("10"), output("20")],
    "two calls, then a question": [
        user("a"),
        calling(TOKYO, PARIS),
        output("10"),
        output("20"),
        assistant("b"),
        user("c"),
    ],
    "two calls, odd arguments": [
        user("a"),
        calling(LONG, ToolCall("ping", "")),
        output("{{ '你好' }}\n"),
        output(""),
        assistant("b"),
        user("c"),
    ],
    "after a turn": [
        user("a"),
        assistant("b"),
        user("c"),
        calling(TOKYO, PARIS),
        output("10"),
        output("20"),
    ],
    "with instructions": [
        system("x"),
        user("a"),
        calling(TOKYO, PARIS),
        output("10"),
        output("20"),
    ],
    "one call": [user("a"), calling(TOKYO), output("10")],
    "one call, answered": [user("a"), calling(TOKYO), output("10"), assistant("b"), user("c")],
    "three calls": [
        user("a"),
        calling(TOKYO, PARIS, OSLO),
        output("10"),
        output("20"),
        output("30"),
    ],
    "words beside a call": [
        user("a"),
        assistant("Let me see.", "", TOKYO),
        output("10"),
        assistant("b"),
        user("c"),
    ],
    "words beside two calls": [
        user("a"),
        assistant("Let me see.", "", TOKYO, PARIS),
        output("10"),
        output("20"),
    ],
    "a thought before calls": [
        user("a"),
        assistant("", "hm", TOKYO, PARIS),
        output("10"),
        output("20"),
        assistant("b"),
        user("c"),
    ],
    "two rounds": [
        user("a"),
        calling(TOKYO),
        output("10"),
        calling(PARIS),
        output("20"),
        assistant("b"),
        user("c"),
    ],
    "a round in each turn": [
        user("a"),
        calling(TOKYO),
        output("10"),
        assistant("b"),
        user("c"),
        calling(PARIS),
        output("20"),
    ],
    "a question instead of an answer": [
        user("a"),
        calling(TOKYO, PARIS),
        output("10"),
        output("20"),
        user("b"),
    ],
}
PREFIX: Dialogues = {
    "goes on": [user("a"), prefilled("The answer")],
    "goes on in a later turn": [user("a"), assistant("b", "x"), user("c"), prefilled("Well, ")],
    "goes on in code": [user("Quick sort in Python."), prefilled("```python\n")],
    "goes on, odd text": [user("a"), prefilled("{{ x }} 你好 <｜User｜>")],
    "goes on under instructions": [system("x"), user("a"), prefilled("b")],
    "goes on from nothing": [user("a"), prefilled("")],
    "goes on in a thought": [user("a"), prefilled("", "First,")],
    "goes on after a thought": [user("a"), prefilled("b", "First, a.")],
}
PREFIX_TOOLS: Dialogues = {
    "goes on after outputs": [
        user("a"),
        calling(TOKYO, PARIS),
        output("10"),
        output("20"),
        prefilled("b"),
    ],
}
