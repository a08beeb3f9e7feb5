"""Proves that every field that a client is known to send has an answer: it is obeyed, refused by
name, or named as ignored. ``client_fields.tsv`` is the table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.server.serving import Serving

from dslocal.server.ignored_fields import HEADER
from dslocal.server.wire import client_fields
from dslocal.server.wire.chat.schemas import ChatRequest
from dslocal.server.wire.completions.schemas import CompletionRequest
from dslocal.server.wire.infill.schemas import InfillRequest
from dslocal.server.wire.request_parsing import parse_request

TABLE = Path(__file__).with_name("client_fields.tsv")
PATHS = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/chat/completions",
    "text": "/v1/completions",
    "infill": "/infill",
}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
BODIES: dict[str, dict[str, Any]] = {
    "chat": CHAT,
    "messages": CHAT,
    "text": {"prompt": "a", "max_tokens": 2},
    "infill": {"input_prefix": "a", "max_tokens": 2},
}
# What a field needs beside it to be meant.
BESIDE: dict[str, dict[str, Any]] = {
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": []},
    "functions[].strict": {"function_call": "auto"},
}


class Row(NamedTuple):
    """A field as a client sends it, and what is done about it."""

    field: str
    clients: str
    request: str
    value: Any
    answer: str


def rows() -> list[Row]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [
        Row(field, clients, request, json.loads(value), answer)
        for field, clients, request, value, answer in cells
    ]


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.request}-{row.field}-{row.answer}")
def test_a_field_is_obeyed_refused_or_named(served: Serving, row: Row) -> None:
    top = row.field.split(".", 1)[0].removesuffix("[]")
    body = {**BODIES[row.request], **BESIDE.get(row.field, {}), top: row.value}
    if client_fields.SYNONYMS.get(top) == "max_tokens":
        del body["max_tokens"]
    response = served.post(PATHS[row.request], body)
    named = response.headers.get(HEADER.decode(), "").split(", ")
    if row.answer == "refused":
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == row.field
        return
    assert response.status_code == 200, response.text
    assert (row.field in named) is (row.answer == "ignored"), named


def test_the_table_has_every_field_that_is_known() -> None:
    listed = {row.field.split(".", 1)[0] for row in ROWS} | {row.field for row in ROWS}
    known = {*client_fields.CLIENT_FIELDS, *client_fields.SYNONYMS}
    for schema in (ChatRequest, CompletionRequest, InfillRequest):
        known |= set(schema.model_fields)
    assert known - listed - {"messages"} == set()


def test_a_refused_field_has_a_row_that_is_refused() -> None:
    refused = {row.field for row in ROWS if row.answer == "refused"}
    for name, rule in client_fields.CLIENT_FIELDS.items():
        if rule.answer is client_fields.FieldAnswer.REFUSED:
            assert name in refused, name


@pytest.mark.parametrize(("synonym", "field"), client_fields.SYNONYMS.items())
def test_synonyms_that_differ_are_refused(synonym: str, field: str) -> None:
    schema = ChatRequest if field == "thinking_budget" else CompletionRequest
    values: dict[str, tuple[Any, Any]] = {"stop": ("a", "b"), "grammar": ("a", "b")}
    one, other = values.get(field, (1, 2))
    body = {"prompt": "x", **CHAT, field: one, synonym: one}
    parse_request(schema, json.dumps(body).encode())
    with pytest.raises(Exception, match=f"{synonym} and {field}"):
        parse_request(schema, json.dumps({**body, synonym: other}).encode())


def test_the_log_says_once_why_a_field_is_ignored(served: Serving) -> None:
    for _ in range(3):
        served.post(PATHS["chat"], {**CHAT, "unheard_of": 1})
    served.wait_for_log("ignored: unheard_of: ")
    assert served.log.count("ignored: unheard_of: ") == 1


def test_names_of_fields_reach_header_and_log_only_as_plain_text(served: Serving) -> None:
    odd = {"a\r\nset-cookie: x": 1, "é" * 500: 1, "": 1, " ": 1, " ok ": 1}
    response = served.post(PATHS["chat"], {**CHAT, **odd})
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert response.headers[HEADER.decode()] == "ok"


def test_many_unknown_fields_are_not_too_many(served: Serving) -> None:
    body = {**CHAT, **{f"unknown_{number}": number for number in range(5000)}}
    response = served.post(PATHS["chat"], body)
    assert response.status_code == 200
    assert len(response.headers[HEADER.decode()]) <= 1000
