"""``dslocal ask --dry-run``: the exact prompt, its ids, and every setting with its source."""

from __future__ import annotations

import json
from typing import Any

from dslocal import output, prompts
from dslocal.cli import session_setup, user_settings
from dslocal.errors import UsageError
from dslocal.terminal.sanitise import one_line, sanitise

from .ask_options import AskOptions
from .prepared_question import PreparedQuestion


def print_dry_run(prepared: PreparedQuestion, options: AskOptions) -> None:
    """Print what would be sent.

    Raises:
        DoesNotFitError: The model does not fit into this machine.
    """
    file = prepared.file
    if file.engine is not None and file.engine.takes_messages:
        raise UsageError("--dry-run cannot show a prompt that DeepSeek's own API writes")
    settings = _settings(prepared, options)
    with session_setup.load_model(file.path, header=file.header, vocab_only=True) as model:
        ids = prompts.encode(prepared.prompt, model)
        bias = settings.get("logit_bias")
        if bias:  # by token id, as it is applied
            resolved = output.resolve_logit_bias(bias, model)
            settings["logit_bias"] = prompts.Setting(resolved, bias.source)
    text = prompts.render(prepared.prompt)
    name = file.engine.model if file.engine else file.header.text("general.name")
    if options.output.as_json:
        fields = {
            "prompt": text,
            "ids": ids,
            "settings": {
                key: {"value": setting.value, "source": setting.source}
                for key, setting in settings.items()
            },
            "family": file.family.name,
            "model": name,
        }
        print(json.dumps(fields))
        return
    print(sanitise(text))
    print(f"\n{len(ids)} tokens: {' '.join(map(str, ids))}")
    print(f"model {one_line(name)}, family {file.family.name}")
    for key, setting in settings.items():
        print(sanitise(f"{key} = {prompts.format_value(setting.value)}  ({setting.source})"))


def _settings(prepared: PreparedQuestion, options: AskOptions) -> dict[str, prompts.Setting[Any]]:
    """Return every setting by name. The context is what the plan for this machine gives."""
    from dslocal.engine import loader

    file = prepared.file
    if file.engine is not None:
        n_ctx, ctx_source = prepared.chosen.n_ctx or file.engine.n_ctx, file.engine.address.url
    else:
        planned = loader.plan_for(file.path, file.header, prepared.chosen)
        n_ctx = planned.load_config.n_ctx
        ctx_source = user_settings.context_source(file.header, options.load.ctx, planned)
    thinking, question = prepared.thinking, prepared.question
    settings: dict[str, prompts.Setting[Any]] = {
        **prepared.settings.shown(),
        "ctx": prompts.Setting(n_ctx, ctx_source),
        "thinking": prompts.Setting(thinking.value.value, thinking.source),
        "math": prompts.Setting(bool(question.directive), question.source),
    }
    constraint = prepared.constraint
    if constraint:
        name = "schema" if constraint.schema is not None else "grammar"
        settings[name] = prompts.Setting(constraint.source, f"--{name}")
    return settings
