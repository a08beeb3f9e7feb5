"""Proves that the results of tools stand in the order of the calls that they answer."""

from __future__ import annotations

import pytest

from dslocal import prompts
from dslocal.server.exchange.tasks import SentCall, SentMessage
from dslocal.server.preparation.requests import ServedModel
from dslocal.server.preparation.sampled_answers import SampledAnswers
from dslocal.server.preparation.sent_messages import family_messages

FAMILY = prompts.FAMILIES["nano"]


def result(name: str, call_id: str = "", tool_name: str = "") -> SentMessage:
    return SentMessage("tool", name, call_id=call_id, tool_name=tool_name)


def calls(*names: str, with_ids: bool = False) -> tuple[SentCall, ...]:
    return tuple(
        SentCall(f"id{place}" if with_ids else "", name, "{}") for place, name in enumerate(names)
    )


@pytest.mark.parametrize(
    ("made", "results", "order"),
    [
        # By the call's id.
        (calls("f", "f", with_ids=True), [result("1", "id1"), result("0", "id0")], "01"),
        (calls("f", "g", with_ids=True), [result("1", "id1", "f"), result("0", "id0", "g")], "01"),
        (calls("f", "f", with_ids=True), [result("1", "id1"), result("x", "id1")], "x1"),
        (calls("f", "f", with_ids=True), [result("x", "other"), result("0", "id0")], "0x"),
        # By the tool's name: Ollama's clients.
        (calls("f", "g"), [result("1", "", "g"), result("0", "", "f")], "01"),
        (
            calls("f", "g", "f"),
            [result("1", "", "g"), result("0", "", "f"), result("2", "", "f")],
            "012",
        ),
        (calls("f", "g", with_ids=True), [result("1", "", "g"), result("0", "", "f")], "01"),
        (calls("f", "g", "h"), [result("a"), result("2", "", "h"), result("0", "", "f")], "0a2"),
        (calls("f", "g"), [result("a", "", "unknown"), result("0", "", "f")], "0a"),
        # In the order in which they come.
        (calls("f", "g"), [result("a"), result("b")], "ab"),
        (calls("f"), [result("a"), result("b"), result("c")], "abc"),
        ((), [result("a", "id0", "f"), result("b")], "ab"),
    ],
)
def test_results_stand_in_the_order_of_their_calls(
    made: tuple[SentCall, ...], results: list[SentMessage], order: str
) -> None:
    served = ServedModel(
        context=None,  # type: ignore[arg-type]  # no message depends on it
        family=FAMILY,
        settings=FAMILY.defaults,
        fim_settings=FAMILY.defaults,
        thinking=FAMILY.default_thinking,
        name="nano",
        fingerprint="0",
        sampled_answers=SampledAnswers(None),  # type: ignore[arg-type]
    )
    sent = [SentMessage("user", "?"), SentMessage("assistant", "", calls=made), *results]
    found = [
        message.content
        for message in family_messages(served, sent, math=False)
        if message.role == "tool"
    ]
    assert "".join(found) == order
