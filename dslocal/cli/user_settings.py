"""The user's settings: from options, template, environment or config.toml, in this order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from dslocal import home, prompts
from dslocal.api.arguments.sizes import size_in_bytes
from dslocal.api.load_options import FLAG_NAMES, overrides, streams_experts, workers
from dslocal.api.sampling_settings import new_seed
from dslocal.errors import UsageError
from dslocal.files import whole_number
from dslocal.gguf.header import GgufHeader
from dslocal.plan.choice import MIN_TOKENS_PER_S
from dslocal.plan.overrides import Overrides
from dslocal.plan.reductions import TARGET_CTX
from dslocal.plan.search import Plan

from .option_groups import Flags, LoadOptions
from .token_counts import configured_tokens

PREFIX = "DSLOCAL_"  # of environment variables
WITHOUT_EFFECT_AT_ZERO = ("top_p", "top_k", "min_p")  # which choose among likely tokens
TOKEN_COUNTS = ("ctx", "max_tokens", "think_budget")  # settings that are numbers of tokens
TEMPLATES = "templates"  # the table of config.toml with named prompts
DISK_CACHE_BYTES = 8 << 30  # for evaluated prompts
MAX_SPEED = 10_000.0  # tokens a second
ENGINE_KEYS = ("engine", "tokenizer", "engine_key_file")
CONFIG_KEYS = (
    "model",
    "ctx",
    "min_speed",
    "stream_experts",
    "rpc",
    "disk_cache",
    *ENGINE_KEYS,
    *prompts.SETTINGS,
    TEMPLATES,
)
VARIABLES = (
    "DSLOCAL_HOME",
    "DSLOCAL_DEBUG",
    "DSLOCAL_API_KEY",
    "DSLOCAL_ENGINE_KEY",
    *(f"DSLOCAL_{key.upper()}" for key in CONFIG_KEYS[:-1]),
)


class ConfiguredValue(NamedTuple):
    """A value that was configured, and where: a variable or a file.

    Attributes:
        value: The value.
        source: The option, the variable or the file.
        key: Its key in the file; empty where the source names it.
    """

    value: Any
    source: str
    key: str = ""

    @property
    def place(self) -> str:
        """Return what an error calls it."""
        return f"{self.source}: {self.key}" if self.key else self.source


def configured(name: str) -> ConfiguredValue | None:
    """Return a value of the environment, or else of config.toml.

    Raises:
        UsageError: config.toml cannot be read, or has an unknown key.
    """
    variable = f"DSLOCAL_{name.upper()}"
    if value := os.environ.get(variable):
        return ConfiguredValue(as_configured(name, value), variable)
    content = home.read_config()
    file = home.config_file()
    for key in content:
        if key not in CONFIG_KEYS:
            raise UsageError(
                f"{file}: unknown key {key!r:.60}", hint=f"known keys: {', '.join(CONFIG_KEYS)}"
            )
    if name not in content:
        return None
    return ConfiguredValue(as_configured(name, content[name]), str(file), name)


def as_configured(name: str, value: Any) -> Any:
    """Return a value of the environment or of config.toml; numbers of tokens may be "8k"."""
    return configured_tokens(value) if name in TOKEN_COUNTS else value


def given_or_configured(key: str, option: Any) -> ConfiguredValue | None:
    """Return the value of an option, where it was given, else that of :func:`configured`."""
    if option is None:
        return configured(key)
    return ConfiguredValue(option, "--" + key.replace("_", "-"))


def named_model(option: str | None) -> str | None:
    """Return the model that was named, by option, environment or config.toml."""
    if option:
        return option
    found = configured("model")
    return str(found.value) if found else None


def fast_enough(option: float | None = None) -> float:
    """Return the tokens a second that are fast enough when a quantization is chosen.

    Args:
        option: What ``--min-speed`` says, which goes before the environment and config.toml.

    Raises:
        UsageError: It is not a speed.
    """
    wanted = given_or_configured("min_speed", option)
    if wanted is None:
        return MIN_TOKENS_PER_S
    try:
        speed = float(wanted.value)
    except (TypeError, ValueError):
        speed = -1.0
    if isinstance(wanted.value, bool) or not 0 <= speed <= MAX_SPEED:
        raise UsageError(
            f"{wanted.place}: {wanted.value!r:.40} is not a speed",
            hint="give tokens per second, for example 8",
        )
    return speed


def disk_cache_bytes(option: str | None = None) -> int:
    """Return the bytes of disk for evaluated prompts; 0 keeps none.

    Args:
        option: What ``--disk-cache`` says, which goes before the environment and config.toml.

    Raises:
        UsageError: It is not a size.
    """
    wanted = given_or_configured("disk_cache", option)
    if wanted is None:
        return DISK_CACHE_BYTES
    try:
        return size_in_bytes(str(wanted.value), least=0)
    except UsageError as e:
        raise UsageError(f"{wanted.place}: {e}", hint=e.hint) from None


def sampling_settings(
    defaults: prompts.Settings, flags: Flags, template: prompts.Template | None = None
) -> prompts.Settings:
    """Return the family's settings with what the user decided above them.

    Args:
        defaults: The family's settings.
        flags: The options by setting, None or an empty list where not given.
        template: The template in use.

    Raises:
        UsageError: A value is not allowed; the message says where it comes from.
    """
    settings = defaults
    for name in prompts.SETTINGS:
        flag = flags.get(name)
        if flag is not None and flag != []:
            settings = settings.with_value(name, flag, "--" + name.replace("_", "-"))
        elif template and name in template.settings:
            value = template.settings[name]
            settings = settings.with_value(name, value, f"template {template.name}")
        elif found := configured(name):
            settings = settings.with_value(name, found.value, found.source)
    return settings


def check_values(
    flags: Flags,
    seed: int | None,
    family: str | None,
    load: LoadOptions,
    template: prompts.Template | None = None,
) -> None:
    """Refuse what no model accepts, before a model is looked for or converted.

    Raises:
        UsageError: A value is not allowed.
    """
    sampling_settings(prompts.FAMILIES["base"].defaults, flags, template)
    option_overrides(load, None)
    checked_seed(seed)
    if family is not None:
        prompts.get_family(family)


def checked_seed(option: int | None) -> int:
    """Return the seed that was given, or a random one.

    Raises:
        UsageError: It is out of range.
    """
    return new_seed(option, "--seed")


def configured_context(option: int | None) -> int | None:
    """Return the tokens of context that an option, DSLOCAL_CTX or config.toml asks for.

    Raises:
        UsageError: It is not a number.
    """
    found = configured("ctx") if option is None else None
    if found is None:
        return option
    text = str(found.value)
    tokens = whole_number(text)
    if tokens is None:
        raise UsageError(f"{found.place}: {text:.40} is not a number of tokens")
    return tokens


def plan_overrides() -> Overrides:
    """Return what the environment and config.toml decide about every model that is planned."""
    chosen = overrides(configured_context(None), names=names_in_errors(None))
    return replace(chosen, stream_experts=streaming_mode(None))


def names_in_errors(ctx: int | None) -> Mapping[str, str]:
    """Return what errors call the settings of :func:`overrides`, wherever the context comes from.

    Args:
        ctx: What ``--ctx`` says.
    """
    found = given_or_configured("ctx", ctx)
    return {**FLAG_NAMES, "n_ctx": found.place} if found else FLAG_NAMES


def option_overrides(options: LoadOptions, ctx: int | None) -> Overrides:
    """Return what options decide about loading any model, with ``ctx`` tokens of context.

    Raises:
        UsageError: A value is not allowed.
    """
    chosen = overrides(
        ctx,
        options.kv,
        n_gpu_layers=options.n_gpu_layers,
        cpu_moe=options.cpu_moe,
        mtp=options.mtp,
        names=FLAG_NAMES,
    )
    return replace(
        chosen,
        stream_experts=streaming_mode(options.stream_experts),
        rpc=chosen_workers(options.rpc),
    )


def streaming_mode(option: str | None) -> bool | None:
    """Return whether experts are read ahead, by option, DSLOCAL_STREAM_EXPERTS or config.toml.

    Raises:
        UsageError: The mode is not known.
    """
    found = given_or_configured("stream_experts", option)
    return streams_experts(str(found.value), found.place) if found else None


def chosen_workers(option: str | None) -> tuple[str, ...]:
    """Return the workers that hold a part of a model, by option, DSLOCAL_RPC or config.toml.

    Raises:
        UsageError: One of them is no ``HOST:PORT``.
    """
    found = given_or_configured("rpc", option)
    if found is None or found.value == "":
        return ()
    value = found.value
    named = [str(each) for each in value] if isinstance(value, list) else str(value)
    return workers(named, found.place)


def wanted_context(header: GgufHeader, chosen: Overrides) -> int:
    """Return the tokens of context that the model would have with memory enough."""
    return chosen.n_ctx or min(header.of_arch("context_length", TARGET_CTX), TARGET_CTX)


def check_budget(budget: int | None, thinking: prompts.Thinking) -> None:
    """Refuse a budget for the reasoning of an answer that has none.

    Raises:
        UsageError: The answer has no reasoning.
    """
    without_reasoning = (prompts.Thinking.NONE, prompts.Thinking.BYPASSED)
    if budget is not None and thinking in without_reasoning:
        raise UsageError(
            "--think-budget: the answer has no reasoning to end",
            hint="--think turns it on, where the model supports it",
        )


def ineffective(settings: prompts.Settings, flags: Flags, *, answers: int = 1) -> list[str]:
    """Return what was given and has no effect, one sentence each.

    Args:
        settings: The settings that hold.
        flags: The options by setting.
        answers: How many answers are drawn.
    """
    budget = flags.get("think_budget")
    most = settings.max_tokens.value
    if isinstance(budget, int) and most is not None and budget >= most:
        return [
            f"--think-budget {budget} has no effect, because --max-tokens ends the answer at {most}"
        ]
    if settings.temperature.value != 0:
        return []
    given = [name for name in WITHOUT_EFFECT_AT_ZERO if flags.get(name) is not None]
    lines = [f"--{name.replace('_', '-')} has no effect at temperature 0" for name in given]
    if answers > 1:
        lines.append("at temperature 0 all answers are the same")
    return lines


def unknown_variables() -> dict[str, str]:
    """Return the variables that dslocal does not know, each with the one that may be meant."""
    unknown = [name for name in os.environ if name.startswith(PREFIX) and name not in VARIABLES]
    known = {name.removeprefix(PREFIX): name for name in VARIABLES}
    found = {}
    for name in sorted(unknown):
        near = get_close_matches(name.removeprefix(PREFIX), known, 1)
        found[name] = known[near[0]] if near else ""
    return found


def context_source(header: GgufHeader, option: int | None, planned: Plan) -> str:
    """Return where the size of the context comes from."""
    if option is not None:
        return "--ctx"
    if found := configured("ctx"):
        return found.source
    is_full = planned.load_config.n_ctx == header.of_arch("context_length")
    return "model" if is_full else "what fits this machine"


def chosen_thinking(
    family: prompts.Family, option: bool | None, template: prompts.Template | None = None
) -> prompts.Setting[prompts.Thinking]:
    """Return how answers begin: by option or template, or as the model's vendor recommends.

    Raises:
        UsageError: The family does not support it.
    """
    wanted, source = option, "--think" if option else "--no-think"
    if option is None and template is not None:
        wanted, source = template.think, f"template {template.name}"
    if wanted is None:
        return prompts.Setting(family.default_thinking, "family")
    thinking = prompts.Thinking.FORCED if wanted else prompts.Thinking.BYPASSED
    if thinking not in family.thinking_modes:
        raise UsageError(
            f"family {family.name} ({family.title}) has no reasoning",
            hint="leave out --think and --no-think",
        )
    return prompts.Setting(thinking, source)
