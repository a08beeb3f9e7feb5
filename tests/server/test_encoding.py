"""Proves that responses are the JSON that they mean, whatever is in them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from dslocal.server.wire.encoding import json_bytes


@pytest.mark.parametrize(
    "value",
    [
        'wörld "x"\n\x00\u2028🙂',
        [1, -0.5, 1e-7, 1e22, 0.1 + 0.2, None, True],
        {"b": {}, "a": []},
        12345678901234567890,
        -math.inf,
    ],
)
def test_it_is_read_back_as_it_was(value: Any) -> None:
    written = json_bytes({"value": value})
    assert json.loads(written) == {"value": value}
    assert b": " not in written


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert json.loads(json_bytes({"x": "a\ud800b"})) == {"x": "a?b"}
