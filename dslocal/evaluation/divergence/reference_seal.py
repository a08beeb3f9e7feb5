"""What dslocal writes at the end of a reference's file: which model and text it belongs to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from dslocal.files import parse_json_object

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "list[str]": (list,),
}


@dataclass(frozen=True)
class ReferenceSeal:
    """Which model and text a file of log-probabilities belongs to.

    Attributes:
        identity: A hash of the content of the model, the tokens and the protocol.
        model: The name of the model.
        model_bytes: The size of its file.
        bits_per_weight: The file's size in bits, over the number of weights.
        vocabulary: A hash of the model's tokens.
        text: The names of the texts that were evaluated.
        tokens: A hash of the token ids.
    """

    identity: str
    model: str
    model_bytes: int
    bits_per_weight: float
    vocabulary: str
    text: list[str]
    tokens: str

    def as_json(self) -> bytes:
        """Return the seal as it is written."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def parse_seal(data: bytes) -> ReferenceSeal:
    """Return a seal that was read.

    Raises:
        ValueError: It is damaged.
    """
    found = parse_json_object(data)
    for field in fields(ReferenceSeal):
        if not isinstance(found.get(field.name), _KINDS[str(field.type)]):
            raise ValueError(field.name)
    if len(found) > len(fields(ReferenceSeal)):
        raise ValueError("more than a seal has")
    if not all(isinstance(name, str) for name in found["text"]):
        raise ValueError("text")
    return ReferenceSeal(**found)
