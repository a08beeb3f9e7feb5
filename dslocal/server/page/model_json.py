"""The models as the page gets them: settings with their sources, and the memory of the plan."""

from __future__ import annotations

import os
from typing import Any

import psutil

from dslocal import prompts
from dslocal.errors import DslocalError
from dslocal.plan.load_config import LoadConfig, MemoryUse
from dslocal.plan.memory.footprint import footprint
from dslocal.server.preparation.requests import ServedModel

MEMORY_PARTS = ("weights", "kv", "compute", "output", "overhead")


def model_json(served: ServedModel) -> dict[str, Any]:
    """Return what the page shows of a model that is loaded."""
    context, family = served.context, served.family
    header = context.model.header
    config = _load_config(served)
    return {
        "name": served.name,
        "is_loaded": True,
        "title": family.title,
        "is_base": family.is_base,
        "file": context.model.path.name,
        "n_ctx": context.n_ctx,
        "n_ctx_train": context.model.n_ctx_train,
        "slots": config.n_seq if config else 0,
        "load_config": config.as_json() if config else {},
        "destination": context.destination,
        "architecture": header.architecture,
        "thinking": served.thinking.value,
        "thinking_modes": [mode.value for mode in family.thinking_modes],
        "efforts": list(family.efforts),
        "effort": family.default_effort,
        "against_system": family.against_system,
        "settings": [_setting_json(served.settings, name) for name in prompts.SETTINGS],
        "memory": _memory_json(served),
    }


def machine_json() -> dict[str, int]:
    """Return the memory of this machine and of this process, in bytes."""
    memory = psutil.virtual_memory()
    resident = psutil.Process(os.getpid()).memory_info().rss
    return {"total": memory.total, "available": memory.available, "resident": resident}


def _setting_json(settings: prompts.Settings, name: str) -> dict[str, Any]:
    setting: prompts.Setting[Any] = getattr(settings, name)
    return {"name": name, "value": setting.value, "source": setting.source}


def _load_config(served: ServedModel) -> LoadConfig | None:
    """Return how a model is loaded; None where it runs in an engine."""
    from dslocal.engine import LlamaContext

    return served.context.load_config if isinstance(served.context, LlamaContext) else None


def _memory_json(served: ServedModel) -> list[dict[str, Any]]:
    """Return the bytes that the model takes by its plan, by part; nothing where that is unknown."""
    config = _load_config(served)
    if config is None:
        return []
    try:
        use = footprint(served.context.model.header, config)
    except DslocalError:
        return []
    return [_part_json(use, part) for part in MEMORY_PARTS]


def _part_json(use: MemoryUse, part: str) -> dict[str, Any]:
    share = getattr(use, part)
    return {"part": part, "gpu": share.gpu, "host": share.host}
