"""Parse the bytes of a body to a request: synonyms, types, and fields that have no effect.

Nothing that a client sends is dropped silently. A field that would change the answer, and that
dslocal does not support, is refused. Any other field without effect is named in the response's
header and in the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from dslocal.files import parse_strict_json, utf8_text

from .base_schemas import RequestSchema
from .client_fields import UNKNOWN_FIELD, FieldAnswer, IgnoredField
from .errors import ApiError

S = TypeVar("S", bound=RequestSchema)
MAX_IGNORED = 64  # fields of one request that are named
MAX_FIELD_NAME = 64
GZIP = b"\x1f\x8b"
PROMPT = "prompt"
PROMPT_FORMS = "a text, token ids, or a list of up to 128 of either is needed"


@dataclass(frozen=True)
class ParsedRequest(Generic[S]):
    """A request and the fields of it that are not obeyed."""

    sent: S
    ignored: tuple[IgnoredField, ...]


def parse_request(schema: type[S], body: bytes) -> ParsedRequest[S]:
    """Parse the body of a request.

    Raises:
        ApiError: 400 for what is not a JSON object, for two synonyms that differ, and for fields
            that would change the answer and are not obeyed; 422 for fields that do not match
            ``schema``.
    """
    found = _with_synonyms(schema, _json_object(body))
    try:
        sent = schema.model_validate(found)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:200]
        if not first["loc"]:  # half a surrogate pair in the name of a field
            raise ApiError(422, "the body has a field whose name is not valid Unicode") from None
        if first["loc"][0] == PROMPT:  # which has four forms: one of them would mislead
            field, first["msg"] = PROMPT, PROMPT_FORMS
        raise ApiError(422, f"{field}: {first['msg']}"[:300], param=field) from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    return ParsedRequest(sent, tuple(_ignored(sent).values()))


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise ApiError(400, "the body is empty, and must be a JSON object")
    if body.startswith(GZIP):
        raise ApiError(
            400,
            "the body is compressed by gzip, which the server does not support: "
            "send it uncompressed",
        )
    try:
        found = parse_strict_json(utf8_text(body))
    except UnicodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError as e:
        raise ApiError(400, f"the body is not JSON: {str(e)[:200]}") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body must be a JSON object")
    return found


def _with_synonyms(schema: type[RequestSchema], found: dict[str, Any]) -> dict[str, Any]:
    """Return ``found`` with every field under the name that ``schema`` has for it."""
    merged = dict(found)
    for synonym, field in schema.field_table.synonyms.items():
        value = merged.get(synonym)
        if synonym not in merged or field not in schema.model_fields:
            continue
        del merged[synonym]
        if value is None:
            continue
        other = merged.get(field)
        if other is not None and other != value:
            raise ApiError(
                400, f"{synonym} and {field} are the same setting: send one of them", param=synonym
            )
        merged[field] = value
    return merged


def _ignored(sent: RequestSchema) -> dict[str, IgnoredField]:
    """Return the fields that are not obeyed, by name.

    Raises:
        ApiError: 400 for one that would change the answer.
    """
    ignored: dict[str, IgnoredField] = {}
    for name, value in _extra_fields(sent, ""):
        rule = sent.field_table.rules.get(name, UNKNOWN_FIELD)
        if value is None or rule.answer is FieldAnswer.PART_OF_ANOTHER or rule.says_nothing(value):
            continue
        if rule.answer is FieldAnswer.REFUSED:
            raise ApiError(400, f"{name}: {rule.reason}", code="unsupported_parameter", param=name)
        if len(ignored) < MAX_IGNORED:
            ignored.setdefault(name, IgnoredField(name, rule.reason))
    return ignored


def _extra_fields(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields below ``node`` that its schema does not have, each with its path."""
    if isinstance(node, list):
        for item in node:
            yield from _extra_fields(item, f"{path}[]")
    if not isinstance(node, BaseModel):
        return
    begin = f"{path}." if path else ""
    for name, value in (node.model_extra or {}).items():
        yield f"{begin}{name[:MAX_FIELD_NAME]}", value
    for name in type(node).model_fields:
        if name in node.model_fields_set:
            yield from _extra_fields(getattr(node, name), f"{begin}{name}")
