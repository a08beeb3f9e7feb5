"""Read the fields in which clients put schemas and grammars, and make one output constraint of
them.

llama-server's ``json_schema`` and ``grammar``, the ``guided_…`` fields and ``structured_outputs``
of vLLM, and SGLang's ``regex`` and ``ebnf``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal import output
from dslocal.server.exchange.tasks import ConstraintKind, SentConstraint

from .base_schemas import SamplingFields
from .errors import ApiError

FIELDS: dict[str, ConstraintKind] = {
    "json_schema": "schema",
    "guided_json": "schema",
    "guided_regex": "regex",
    "regex": "regex",
    "guided_choice": "choice",
    "grammar": "gbnf",
    "guided_grammar": "gbnf",
    "ebnf": "gbnf",
}
STRUCTURED_FIELDS: dict[str, ConstraintKind] = {
    "json_value": "schema",
    "regex": "regex",
    "choice": "choice",
    "grammar": "gbnf",
}


def only_constraint(found: Sequence[SentConstraint]) -> SentConstraint | None:
    """Return the one constraint of a request; None where there is none.

    Raises:
        ApiError: 400 where there are several.
    """
    if len(found) > 1:
        raise ApiError(
            400,
            f"{found[0].field} and {found[1].field} cannot be combined: send one of them",
            param=found[1].field,
        )
    return found[0] if found else None


def sampling_constraints(request: SamplingFields) -> Iterator[SentConstraint]:
    """Yield what the fields ask for that all of OpenAI's routes have."""
    for field, kind in FIELDS.items():
        value = getattr(request, field)
        if value not in (None, ""):
            yield SentConstraint(field, kind, value)
    structured = request.structured_outputs
    if structured is None:
        return
    for name, kind in STRUCTURED_FIELDS.items():
        value = getattr(structured, name)
        if value is not None:
            shown = name.removesuffix("_value")
            yield SentConstraint(f"structured_outputs.{shown}", kind, value)
    if structured.json_object:
        yield SentConstraint("structured_outputs.json_object", "schema", output.ANY_OBJECT)
