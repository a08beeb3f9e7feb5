"""How a model that was pulled by its name in models.yaml is prompted.

The name that a ready-made file gives itself need not say which release of the model it is: a file
of V4-Flash-0731 may be "DeepSeek V4 Flash", with a template that somebody edited. The name in
models.yaml says which release it is.
"""

from __future__ import annotations

from pathlib import Path

from .inventory import absolute_path, installed_models
from .registry import load_registry


def pulled_family(path: Path) -> str | None:
    """Return the family that models.yaml gives the file at ``path``.

    None where the file is not one that was downloaded from a repository which models.yaml names for
    a model.
    """
    path = absolute_path(path)
    for installed in installed_models():
        if installed.how != "downloaded" or path != installed.path:
            continue
        entry = load_registry().get(installed.name)
        repository = installed.origin.removeprefix("hf:").partition("@")[0]
        if entry and any(made.repository == repository for made in entry.gguf):
            return entry.family
    return None
