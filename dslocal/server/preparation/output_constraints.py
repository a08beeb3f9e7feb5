"""Make the output constraint of a request, in the form that the engine needs."""

from __future__ import annotations

from typing import Any

from dslocal import output
from dslocal.files import parse_strict_json
from dslocal.server.exchange.tasks import SentConstraint
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError

MAX_SHOWN_REASON = 200


def read_constraint(sent: SentConstraint | None) -> output.OutputConstraint | None:
    """Return what a request asks for; None where the answer is free.

    Raises:
        ApiError: 400 for a strict schema that cannot be enforced completely, 422 for text that is
            no schema.
        UsageError: The schema, expression or grammar cannot be used.
    """
    return _constraint(sent) if sent else None


def unheld_fields(constraint: output.OutputConstraint | None) -> tuple[IgnoredField, ...]:
    """Return the remarks on a constraint that is not completely enforced."""
    if constraint is None or not (constraint.unheld or constraint.unknown):
        return ()
    reasons = "; ".join((*constraint.unheld, *constraint.unknown))[:MAX_SHOWN_REASON]
    return (IgnoredField(constraint.source, reasons),)


def _constraint(sent: SentConstraint) -> output.OutputConstraint:
    if sent.kind == "regex":
        return output.constraint_from_regex(sent.value, sent.field)
    if sent.kind == "choice":
        return output.constraint_from_choices(sent.value, sent.field)
    if sent.kind == "gbnf":
        return output.constraint_from_gbnf(sent.value, sent.field)
    constraint = output.constraint_from_schema(_schema(sent), sent.field)
    unheld = (*constraint.unheld, *constraint.unknown)
    if sent.is_strict and unheld:
        reasons = "; ".join(unheld)[:MAX_SHOWN_REASON]
        raise ApiError(
            400,
            f"{sent.field}: this schema cannot be enforced completely: {reasons}",
            param=sent.field,
        )
    return constraint


def _schema(sent: SentConstraint) -> Any:
    """Return the schema, which SGLang's clients and some of vLLM's send as text."""
    if not isinstance(sent.value, str):
        return sent.value
    try:
        return parse_strict_json(sent.value)
    except (ValueError, RecursionError) as e:
        message = f"{sent.field}: is not a JSON Schema: {str(e)[:MAX_SHOWN_REASON]}"
        raise ApiError(422, message, param=sent.field) from None
