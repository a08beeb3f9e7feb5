"""Proves that no request, however wrong, gets more than a 4xx and the error object, and that the
next one is served.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from support.server.serving import MODEL, SUM, Serving

from dslocal.server.ignored_fields import HEADER

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": SUM}], "max_tokens": 2}
SEED, REQUESTS = 20251122, 300
HALF = "a\ud800b"  # half a surrogate pair: JSON can spell it, and UTF-8 cannot
ABSURD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    1.5,
    1 << 40,
    -(1 << 70),
    1e300,
    "",
    "x",
    "\x00",
    "\ud800",
    [],
    {},
    [None],
    [[]],
    {"": None},
    ["x"] * 50,
    "null",
)


def error_of(answer: Any) -> dict[str, Any]:
    """The error object of an answer, which must be whole."""
    found: dict[str, Any] = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found["message"]
    assert "Traceback" not in found["message"]
    return found


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"model": "gpt-4"}, 404, "model"),
        ({"model": 5}, 422, "model"),
        ({"messages": []}, 422, "messages"),
        ({"messages": "hello"}, 422, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, 422, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            400,
            "messages.0.content.0",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, 422, None),
        (
            {"messages": [{"role": "user", "content": "x", "prefix": True}]},
            400,
            "messages.0.prefix",
        ),
        ({"temperature": -1}, 422, "temperature"),
        ({"temperature": 1e9}, 422, "temperature"),
        ({"temperature": "hot"}, 422, "temperature"),
        ({"temperature": True}, 422, "temperature"),
        ({"top_p": 0}, 422, "top_p"),
        ({"top_p": 1.01}, 422, "top_p"),
        ({"max_tokens": 0}, 422, "max_tokens"),
        ({"max_tokens": -5}, 422, "max_tokens"),
        ({"max_tokens": 1 << 40}, 422, "max_tokens"),
        ({"max_tokens": 1.5}, 422, "max_tokens"),
        ({"max_completion_tokens": -3}, 422, "max_completion_tokens"),
        ({"n": 0}, 422, "n"),
        ({"n": 100_000}, 422, "n"),
        ({"seed": -(1 << 64)}, 422, "seed"),
        ({"seed": 1 << 64}, 422, "seed"),
        ({"stop": ["x"] * 100}, 422, "stop"),
        ({"max_tokens": 2.5}, 422, "max_tokens"),
        ({"max_tokens": "4"}, 422, "max_tokens"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"top_logprobs": 2, "logprobs": False}, 400, "top_logprobs"),
        ({"stop": {"a": 1}}, 422, None),
        ({"presence_penalty": 3}, 422, "presence_penalty"),
        ({"logit_bias": {"1": 101}}, 422, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, 422, "logit_bias"),
        ({"logit_bias": {"": 1}}, 422, "logit_bias"),
        ({"top_logprobs": 50, "logprobs": True}, 422, "top_logprobs"),
        ({"thinking": {"type": "sometimes"}}, 422, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": -2}}, 422, "thinking.budget_tokens"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            422,
            "tools.0.function.name",
        ),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"response_format": {"type": "xml"}}, 422, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, 422, "response_format.json_schema"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": "nothing"}},
                }
            },
            400,
            None,
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"$ref": "http://evil.example/"}},
                }
            },
            400,
            None,
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"strict": True, "schema": {"not": {"type": "string"}}},
                }
            },
            400,
            None,
        ),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "a" * 500_000}]}, 400, "messages"),
        ({"stream": "yes"}, 422, "stream"),
        ({"stream": True, "temperature": -1}, 422, "temperature"),
    ],
)
def test_fields_that_cannot_be_meant(
    served: Serving, more: dict[str, Any], status: int, param: str | None
) -> None:
    answer = served.post(CHAT, {**ASKED, **more})
    assert answer.status_code == status, answer.text
    error = error_of(answer)
    if param:
        assert error["param"] == param


def test_a_prompt_that_does_not_fit_says_the_numbers(served: Serving) -> None:
    error = error_of(served.post(CHAT, {"messages": [{"role": "user", "content": "word " * 5000}]}))
    assert error["code"] == "context_length_exceeded"
    assert "1,024" in error["message"]
    assert (
        error_of(served.post(TEXT, {"prompt": "word " * 5000}))["code"] == "context_length_exceeded"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe\x00",
        b'{"messages": [{"role": "user", "content": "\xc3\x28"}]}',
        b'{"max_tokens": NaN}',
        b'{"temperature": 1e999, "messages": [{"role": "user", "content": "x"}]}',
        b'{"n": ' + b"9" * 10_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"max_tokens": 1, "max_tokens": 2, "messages": [{"role": "user", "content": "x"}]}',
    ],
    ids=range(13),
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_bodies_that_are_not_requests(served: Serving, path: str, body: bytes) -> None:
    answer = served.http.post(path, content=body)
    assert answer.status_code in (400, 422), answer.text
    error_of(answer)


def test_a_keyword_that_means_nothing_is_named_or_refused(served: Serving) -> None:
    schema = {"type": "object", "requird": ["a"]}
    for strict in (False, True):
        wanted = {"type": "json_schema", "json_schema": {"schema": schema, "strict": strict}}
        answer = served.post(CHAT, {**ASKED, "response_format": wanted})
        assert answer.status_code == (400 if strict else 200)
        named = answer.headers.get(HEADER.decode(), "")
        assert named == ("" if strict else "response_format.json_schema")
        assert not strict or "did you mean required?" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, {**ASKED, HALF: 1}, 422),
        (CHAT, {**ASKED, "guided_choice": [HALF]}, 400),
        (CHAT, {**ASKED, "guided_regex": HALF}, 400),
        (CHAT, {**ASKED, "guided_grammar": f'root ::= "{HALF}"'}, 400),
        (CHAT, {**ASKED, "guided_json": {"enum": [HALF]}}, 400),
        (CHAT, {**ASKED, "tools": [{"type": "function", "function": {"name": HALF}}]}, 422),
        (CHAT, {**ASKED, "tool_choice": HALF}, 422),
        (CHAT, {**ASKED, "reasoning_effort": HALF}, 422),
        (CHAT, {**ASKED, "model": HALF}, 404),
        (CHAT, {**ASKED, "messages": [{"role": "user", "content": HALF}]}, 200),
        ("/v1/responses", {"input": HALF, "metadata": {HALF: HALF}, "max_output_tokens": 2}, 200),
    ],
    ids=lambda value: None if isinstance(value, int) else ascii(value)[-60:],
)
@pytest.mark.parametrize("stream", [False, True])
def test_half_a_surrogate_pair(
    served: Serving, path: str, body: dict[str, Any], status: int, stream: bool
) -> None:
    sent = json.dumps({**body, "stream": stream})
    answer = served.http.post(path, content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert "the server failed" not in answer.text
    if status != 200:
        said = error_of(answer)["message"]
        assert status != 400 or r"\ud800 is half of a character" in said


def test_a_response_with_half_a_surrogate_pair_is_kept(served: Serving) -> None:
    made = served.http.post(
        "/v1/responses", content=json.dumps({"input": HALF, "max_output_tokens": 2})
    )
    kept = served.http.get(f"/v1/responses/{made.json()['id']}")
    assert kept.json() == made.json()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/v1/models", 404),
    ],
)
def test_where_nothing_is(served: Serving, method: str, path: str, status: int) -> None:
    answer = served.http.request(method, path)
    assert answer.status_code == status
    error_of(answer)


def limit_tokens(path: str, body: dict[str, Any], limit: Any) -> None:
    """Have the answer to a request of ``path`` end after ``limit`` tokens."""
    if not path.startswith("/api"):
        body["max_tokens"] = limit
    elif isinstance(body.setdefault("options", {}), dict):
        body["options"]["num_predict"] = limit


@pytest.mark.parametrize("formats", ["openai", "others"])
def test_fuzzed_requests(served: Serving, formats: str) -> None:
    """300 requests made from the published document, most of them wrong somewhere: seeded, so that
    a failure can be had again.
    """
    document, rng = served.http.get("/openapi.json").json(), random.Random(SEED)
    make = Maker(document["components"]["schemas"], rng)
    posts = [
        (path, ops["post"])
        for path, ops in document["paths"].items()
        if "post" in ops and path.endswith(("/completions", "/infill")) is (formats == "openai")
    ]
    statuses: dict[int, int] = {}
    for number in range(REQUESTS):
        path, post = posts[number % len(posts)]
        body = make(post["requestBody"]["content"]["application/json"]["schema"])
        limit = rng.choice((1, 3, *ABSURD[1:4], *ABSURD[5:])) if rng.random() < 0.3 else 2
        limit_tokens(path, body, limit)
        answer = served.http.post(path, content=json.dumps(body).encode("utf-8", "replace"))
        said = f"{path} {json.dumps(body)[:2000]}: {answer.status_code} {answer.text[:300]}"
        assert str(answer.status_code) in post["responses"], said
        assert answer.status_code < 500, said
        if answer.status_code >= 400 and formats == "openai":
            error_of(answer)
        elif answer.status_code >= 400:
            assert answer.json()["error"], said
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert statuses[200] > REQUESTS / 20, statuses
    assert statuses[422] > REQUESTS / 4, statuses
    assert served.chat()["choices"][0]["finish_reason"] == "stop"


class Maker:
    """Values for JSON Schemas, right ones mostly; ``wrong`` is the share of fields that are not."""

    def __init__(self, known: dict[str, Any], rng: random.Random, wrong: float = 0.04) -> None:
        self._known = known
        self._rng = rng
        self._wrong = wrong

    def __call__(self, schema: dict[str, Any], depth: int = 0) -> Any:
        rng = self._rng
        if depth and rng.random() < self._wrong:
            return rng.choice(ABSURD)
        if "$ref" in schema:
            return self(self._known[schema["$ref"].rsplit("/", 1)[1]], depth)
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self(rng.choice(schema[several]), depth + 1)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else rng.choice(schema["enum"])
        made: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: [
                self(schema.get("items", {}), depth + 1)
                for _ in range(rng.randint(schema.get("minItems", 0), 3))
            ],
            "string": lambda: (
                "get_it"
                if "pattern" in schema
                else rng.choice((MODEL, "What is 2 + 3?", "x", "é中", "5"))
            ),
            "integer": lambda: rng.randint(
                schema.get("minimum", -2), min(schema.get("maximum", 40), 1 << 30)
            ),
            "number": lambda: rng.choice((0, 0.5, 1, 1.5, rng.uniform(-3, 3))),
            "boolean": lambda: rng.random() < 0.5,
            "null": lambda: None,
        }
        return made.get(schema.get("type", "string"), made["string"])()

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        needed, fields = schema.get("required", []), schema.get("properties", {})
        made = {
            name: self(field, depth + 1)
            for name, field in fields.items()
            if (name in needed and self._rng.random() > self._wrong / 2)
            or self._rng.random() < 0.12
        }
        if "model" in fields:
            made["model"] = MODEL if self._rng.random() < 0.9 else self._rng.choice(ABSURD)
        return made
