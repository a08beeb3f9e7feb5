"""``dslocal ask --dry-run``: the exact prompt, its ids, and every setting with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import chat
from ..gguf import GgufHeader
from ..ui.terminal import one_line, sanitise
from . import runtime


def show(
    path: Path, header: GgufHeader, family: chat.Family, prompt: Sequence[chat.Segment], settings: Mapping[str, Any], *, as_json: bool
) -> None:
    """Prints what would be sent. ``settings`` are Setting objects, or anything with a value and a source."""
    with runtime.load(path, vocab_only=True) as model:
        ids = chat.encode(prompt, model)
        if bias := settings.get("logit_bias"):
            settings = {**settings, "logit_bias": chat.Setting(chat.biases(bias, model), bias.source)}  # by id, as it is applied
    text, name = chat.spell(prompt), header.text("general.name")
    if as_json:
        named = {key: {"value": setting.value, "source": setting.source} for key, setting in settings.items()}
        print(json.dumps({"prompt": text, "ids": ids, "settings": named, "family": family.name, "model": name}))
        return
    print(sanitise(text))
    print(f"\n{len(ids)} tokens: {' '.join(map(str, ids))}")
    print(f"model {one_line(name)}, family {family.name}")
    for key, setting in settings.items():
        print(sanitise(f"{key} = {chat.spelled(setting.value)}  ({setting.source})"))
