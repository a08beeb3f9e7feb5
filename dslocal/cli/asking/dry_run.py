"""``dslocal ask --dry-run``: the exact prompt, its ids, and every setting with where it comes
from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dslocal import output, prompts
from dslocal.cli import session_setup
from dslocal.gguf.header import GgufHeader
from dslocal.plan.search import Overrides
from dslocal.terminal.sanitise import one_line, sanitise


def settings(
    chosen: prompts.Settings,
    path: Path,
    header: GgufHeader,
    ctx: int | None,
    overrides: Overrides,
    thinking: prompts.Setting[prompts.Thinking],
    question: prompts.Question,
    form: output.OutputConstraint | None,
) -> dict[str, prompts.Setting[Any]]:
    """Every setting by name, with where it comes from; the context is what the plan for this
    machine gives. Raises DoesNotFitError.
    """
    from dslocal.engine import loader

    planned = loader.plan_for(path, header, overrides)
    shown: dict[str, prompts.Setting[Any]] = {
        **chosen.shown(),
        "ctx": prompts.Setting(
            planned.load_config.n_ctx, session_setup.context_source(header, ctx, planned)
        ),
        "thinking": prompts.Setting(thinking.value.value, thinking.source),
        "math": prompts.Setting(bool(question.directive), question.source),
    }
    if form:
        name = "schema" if form.schema is not None else "grammar"
        shown[name] = prompts.Setting(form.source, f"--{name}")
    return shown


def show(
    path: Path,
    header: GgufHeader,
    family: prompts.Family,
    prompt: Sequence[prompts.Segment],
    settings: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Prints what would be sent. ``settings`` are Setting objects, or anything with a value and a
    source.
    """
    with session_setup.load(path, vocab_only=True) as model:
        ids = prompts.encode(prompt, model)
        if bias := settings.get("logit_bias"):
            settings = {
                **settings,
                "logit_bias": prompts.Setting(output.resolve_logit_bias(bias, model), bias.source),
            }  # by id, as it is applied
    text, name = prompts.render(prompt), header.text("general.name")
    if as_json:
        named = {
            key: {"value": setting.value, "source": setting.source}
            for key, setting in settings.items()
        }
        print(
            json.dumps(
                {
                    "prompt": text,
                    "ids": ids,
                    "settings": named,
                    "family": family.name,
                    "model": name,
                }
            )
        )
        return
    print(sanitise(text))
    print(f"\n{len(ids)} tokens: {' '.join(map(str, ids))}")
    print(f"model {one_line(name)}, family {family.name}")
    for key, setting in settings.items():
        print(sanitise(f"{key} = {prompts.format_value(setting.value)}  ({setting.source})"))
