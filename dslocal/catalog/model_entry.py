"""The checked entry of one model in models.yaml.

Does not know how an entry is written in the file: see
:mod:`dslocal.catalog.registry.registry_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dslocal.errors import DslocalError, NotFoundError
from dslocal.files import read_json_object

Dtype = Literal["bf16", "fp8"]
DTYPES: tuple[Dtype, ...] = ("bf16", "fp8")
Weights = Literal["safetensors", "pytorch"]
WEIGHTS: tuple[Weights, ...] = ("safetensors", "pytorch")
Purpose = Literal["chat", "code", "math", "proof", "base"]
PURPOSES: tuple[Purpose, ...] = ("chat", "code", "math", "proof", "base")

MAX_CONFIG = 4 << 20  # bytes of a config.json
DEFAULT_REVISION = "main"
DEFAULT_FILES = ("*.json", "*.safetensors", "*.jinja")
DEFAULT_QUANTS = ("Q8_0", "Q4_K_M", "Q2_K")  # best first


@dataclass(frozen=True)
class ReadyMade:
    """A repository that has a model as GGUF files known to be good.

    Attributes:
        repository: OWNER/NAME on the hub.
        files: For each quantization its path in there; of a split file that of its first part.
        mtp: Whether the files hold the layer for multi-token prediction.
        nbytes: The size of all parts of a quantization that is not one of our recipes.
    """

    repository: str
    files: Mapping[str, str]
    mtp: bool = False
    nbytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelEntry:
    """One model by name.

    Attributes:
        name: Its repository's name in lower case.
        title: What it is called in tables.
        licence: The licence of its weights.
        family: How it is prompted, a name of :data:`dslocal.prompts.FAMILIES`.
        quant: The quantization that it is converted to by default.
        context: Tokens that it handles, by its model card.
        parameters: Billions of weights, as published.
        active: Billions of weights that a token uses, as published.
        dtype: What most of its weights are published in.
        repository: OWNER/NAME on the hub; empty where the checkpoint is in this package.
        local: The folder of a checkpoint in this package.
        stated: The keys of config.json that models.yaml states of a checkpoint elsewhere.
        revision: What is downloaded: a branch, a tag, ``refs/pr/N`` or a commit.
        weights: What they are stored in. ``pytorch`` is pickled files, which are never opened.
        files: Shell patterns of the names of the files that belong to the checkpoint.
        quants: The recommended quantizations, best first, ``quant`` among them.
        gguf: Who has the model as GGUF files, best first.
        purpose: What it is for; "base" models continue text and do not answer.
        replaced_by: The later model that its vendor offers in its place; empty without one.
        recommended: Its place, from 1 on, among the models to recommend; 0 for none.
        aliases: What other programs call it.
    """

    name: str
    title: str
    licence: str
    family: str
    quant: str
    context: int
    parameters: float
    active: float
    dtype: Dtype
    repository: str = ""
    local: Path | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)
    revision: str = DEFAULT_REVISION
    weights: Weights = "safetensors"
    files: tuple[str, ...] = DEFAULT_FILES
    quants: tuple[str, ...] = DEFAULT_QUANTS
    gguf: tuple[ReadyMade, ...] = ()
    purpose: Purpose = "chat"
    replaced_by: str = ""
    recommended: int = 0
    aliases: tuple[str, ...] = ()

    @property
    def is_usual(self) -> bool:
        """Return whether somebody who wants a chat or a coding assistant would want this one."""
        answers = self.purpose in ("chat", "code")
        return answers and not self.replaced_by and self.local is None

    @property
    def folder(self) -> Path:
        """Its checkpoint. Raises NotFoundError when it is not in this package."""
        if self.local is None:
            raise NotFoundError(
                f"{self.name} is not on this machine",
                hint=(
                    f"dslocal pull {self.name} downloads it;"
                    f" dslocal fit {self.name} says what it needs"
                ),
            )
        return self.local

    @property
    def config(self) -> Mapping[str, Any]:
        """The keys of its config.json that sizes follow from.

        Raises DslocalError when a checkpoint in this package is damaged.
        """
        if self.local is None:
            return self.stated
        file = self.local / "config.json"
        try:
            return read_json_object(file, max_bytes=MAX_CONFIG)
        except (OSError, ValueError) as e:
            raise DslocalError(f"{file}: cannot be read: {e}") from e
