"""Prove that chat templates are found wherever they are, and ids that mean none left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    Damage,
    config,
    in_json,
    put,
    several,
)
from support.checkpoints.oddities import (
    MARK,
    SETTINGS,
    new,
    planned,
)

TEXT = "{{ messages }}"
TEMPLATE = "tokenizer.chat_template"
NAMED = [{"name": "default", "template": TEXT}, {"name": "tool_use", "template": "{{ tools }}"}]
TWO = {TEMPLATE: TEXT, f"{TEMPLATE}.tool_use": "{{ tools }}", f"{TEMPLATE}s": ["tool_use"]}
TEMPLATES: dict[str, tuple[Damage, dict[str, Any]]] = {
    "in tokenizer_config.json": (in_json(SETTINGS, put("chat_template", TEXT)), {TEMPLATE: TEXT}),
    "in a file": (new("chat_template.jinja", TEXT), {TEMPLATE: TEXT}),
    "in a file with a mark": (new("chat_template.jinja", MARK + TEXT.encode()), {TEMPLATE: TEXT}),
    "in JSON": (new("chat_template.json", json.dumps({"chat_template": TEXT})), {TEMPLATE: TEXT}),
    "null, and in a file": (
        several(in_json(SETTINGS, put("chat_template", None)), new("chat_template.jinja", TEXT)),
        {TEMPLATE: TEXT},
    ),
    "a list": (in_json(SETTINGS, put("chat_template", NAMED)), TWO),
    "a list in JSON": (new("chat_template.json", json.dumps({"chat_template": NAMED})), TWO),
    "an object": (
        in_json(SETTINGS, put("chat_template", {"default": TEXT, "tool_use": "{{ tools }}"})),
        TWO,
    ),
    "others in a folder": (
        several(
            new("chat_template.jinja", TEXT),
            new("additional_chat_templates/tool_use.jinja", "{{ tools }}"),
            new("additional_chat_templates/README.md", "x"),
        ),
        TWO,
    ),
    "none of a list is the default": (
        in_json(SETTINGS, put("chat_template", NAMED[1:])),
        {f"{TEMPLATE}.tool_use": "{{ tools }}", f"{TEMPLATE}s": ["tool_use"]},
    ),
    "a list of nothing": (in_json(SETTINGS, put("chat_template", [1, {}, {"name": "x"}])), {}),
    "a name with other letters": (
        in_json(SETTINGS, put("chat_template", [{"name": "a-b.c", "template": TEXT}])),
        {f"{TEMPLATE}.a_b_c": TEXT, f"{TEMPLATE}s": ["a_b_c"]},
    ),
    "too long": (in_json(SETTINGS, put("chat_template", "x" * ((1 << 20) + 1))), {}),
}


@pytest.mark.parametrize(("damage", "keys"), TEMPLATES.values(), ids=TEMPLATES)
def test_chat_templates_are_found_wherever_they_are(
    damage: Damage, keys: dict[str, Any], copy: Callable[[str], Path]
) -> None:
    folder = copy("llama")
    several(in_json(SETTINGS, put("chat_template", ...)), damage)(folder)
    plan = planned(folder)
    metadata = dict(plan.outputs[0].metadata)
    assert {key: value for key, value in metadata.items() if "chat_template" in key} == keys
    is_remarkable = len(keys) > 1 or "x" * 99 in str(json.loads((folder / SETTINGS).read_text()))
    assert any("chat template" in warning for warning in plan.warnings) == is_remarkable


def test_two_templates_that_differ_are_reported(copy: Callable[[str], Path]) -> None:
    folder = copy("llama")
    several(in_json(SETTINGS, put("chat_template", "{{ a }}")), new("chat_template.jinja", TEXT))(
        folder
    )
    plan = planned(folder)
    assert dict(plan.outputs[0].metadata)[TEMPLATE] == "{{ a }}"
    assert any("different chat templates" in warning for warning in plan.warnings)


# an id in config.json, the id in the GGUF, and whether a warning says so
IDS: list[tuple[Any, int | None, bool]] = [
    (5, 5, False),
    (-1, None, False),
    (-100, None, False),
    (None, None, False),
    ([5, 6, 7], 5, False),
    ([], None, False),
    ([-1], None, False),
    (320, None, True),
    ([1 << 40], None, True),
    (5.0, 5, False),
    ("5", 5, False),
    ("-1", None, False),
    ("", None, False),
    ("none", None, False),
]


@pytest.mark.parametrize("role", ["bos", "eos", "pad", "unk"])
@pytest.mark.parametrize(("value", "token", "warns"), IDS, ids=lambda value: f"{value!r:.20}")
def test_ids_that_mean_none_are_left_out(
    role: str, value: Any, token: int | None, warns: bool, copy: Callable[[str], Path]
) -> None:
    folder = copy("llama")
    several(config(**{f"{role}_token_id": value}), in_json(SETTINGS, put(f"{role}_token", ...)))(
        folder
    )
    plan = planned(folder)
    name = {"pad": "padding", "unk": "unknown"}.get(role, role)
    assert dict(plan.outputs[0].metadata).get(f"tokenizer.ggml.{name}_token_id") == token
    assert any(f"{role}_token_id" in warning for warning in plan.warnings) == warns
