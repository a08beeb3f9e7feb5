"""Proves how families begin an answer where no template says it, and that base models are given the
text as it is.
"""

from __future__ import annotations

import pytest
from support.prompts.dialogues import TURNS, assistant, system, user
from support.prompts.vendor_templates import rendered

from dslocal.prompts import FAMILIES, Family, Thinking, render
from dslocal.prompts.families.dsml import Dsml

B = "<｜begin▁of▁sentence｜>"
E = "<｜end▁of▁sentence｜>"
U = "<｜User｜>"
A = "<｜Assistant｜>"
BEGINNINGS = {
    "r1": {
        Thinking.FORCED: "<think>\n",
        Thinking.FREE: "",
        Thinking.BYPASSED: "<think>\n\n</think>\n\n",
    },
    "nano": {
        Thinking.FORCED: "<think>\n",
        Thinking.FREE: "",
        Thinking.BYPASSED: "<think>\n\n</think>\n\n",
    },
    "r1-0528": {
        Thinking.FREE: "",
        Thinking.FORCED: "<think>\n",
        Thinking.BYPASSED: "<think>\n\n</think>\n\n",
    },
    "v3.1": {Thinking.BYPASSED: "</think>", Thinking.FORCED: "<think>"},
    "v3.2-speciale": {Thinking.FORCED: "<think>"},
    **{
        name: {Thinking.FORCED: "<think>", Thinking.BYPASSED: "</think>"}
        for name in ("v3.2", "v4", "v4-0731", "v4.1")
    },
}


def test_ways_of_every_family() -> None:
    for name, family in FAMILIES.items():
        assert family.thinking_modes == tuple(BEGINNINGS.get(name, [Thinking.NONE]))
        assert family.default_thinking is family.thinking_modes[0]


@pytest.mark.parametrize(
    ("name", "way"),
    # V4.1's effort stands at the beginning of the prompt, if it reasons
    [(name, way) for name, ways in BEGINNINGS.items() for way in ways if name != "v4.1"],
)
@pytest.mark.parametrize("dialogue", TURNS)
def test_ways_differ_in_how_the_answer_begins_and_in_nothing_else(
    name: str, way: Thinking, dialogue: str
) -> None:
    """Of most families no template knows more than one way."""
    family = FAMILIES[name]
    if isinstance(family.format, Dsml) and dialogue == "an answer last":
        pytest.skip("an answer after the last question keeps its reasoning there")
    usual = render(family.render(TURNS[dialogue])).removesuffix(
        BEGINNINGS[name][family.default_thinking]
    )
    assert usual.endswith(A)
    assert render(family.render(TURNS[dialogue], way)) == usual + BEGINNINGS[name][way]


# template, what an earlier answer begins with, and the next one
AS_WRITTEN = {
    "r1": ("deepseek-r1-671b", "", "<think>\n"),
    "r1-0528": ("deepseek-r1-0528", "", ""),
    "v3.1": ("deepseek-v3.1", "</think>", "</think>"),
}


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_white_space_around_a_thought_is_not_of_the_answer(name: str) -> None:
    """A template that is given what the model wrote, tags and all, keeps the blank line after the
    thought. Here it belongs to neither part, as in DeepSeek's API."""
    template, past, begin = AS_WRITTEN[name]
    ours = FAMILIES[name].render([user("a"), assistant("b", "x"), user("c")])
    assert render(ours) == f"{B}{U}a{A}{past}b{E}{U}c{A}{begin}"
    as_written = [user("a"), assistant("<think>\nx\n</think>\n\nb"), user("c")]
    assert rendered(template, as_written) == f"{B}{U}a{A}{past}\n\nb{E}{U}c{A}{begin}"


@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES.values() if family.is_base],
    ids=lambda family: family.name,
)
def test_base_models_go_on_with_the_text(family: Family) -> None:
    """No template: what stands before the text is the one token that their tokenizers put there."""
    assert render(family.render([user("def f(x):\n")])) == f"{B}def f(x):\n"
    assert render(family.render([user("")])) == B
    assert render(family.render([system("# 你好"), user("x {{ }}")])) == f"{B}# 你好\n\nx {{{{ }}}}"
