"""The conversations that ship: for importance matrices, and for measuring what these are worth."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dslocal.evaluation.calibration import CALIBRATION, HELD_OUT, ShippedText, calibration_ids
from dslocal.home.paths import bundled
from dslocal.prompts import FAMILIES

END = 7


class AnyVocabulary:
    """Has every special token, and takes a byte for a token."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def special_id(self, token: str) -> int | None:
        return 1000 + len(token)


def texts(shipped: ShippedText) -> set[str]:
    """Every paragraph of a file that has more than a few words."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, str):
            found.update(part.strip() for part in node.split("\n\n") if len(part) > 40)
        elif isinstance(node, dict):
            walk(list(node.values()))
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(yaml.safe_load((bundled("calibration") / shipped.file).read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shipped", [CALIBRATION, HELD_OUT], ids=lambda shipped: shipped.file)
def test_every_family_can_prompt_them(family: str, shipped: ShippedText) -> None:
    ids = calibration_ids(FAMILIES[family], AnyVocabulary(), END, shipped)
    assert len(ids) > 5000
    assert END in ids
    assert any(id >= 1000 for id in ids)


def test_a_matrix_is_not_judged_on_its_own_text() -> None:
    assert len(texts(HELD_OUT)) > 50
    assert not texts(CALIBRATION) & texts(HELD_OUT)
