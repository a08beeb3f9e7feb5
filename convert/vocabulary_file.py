"""A model's vocabulary alone as a GGUF file, from the small JSON files of its checkpoint.

With it llama.cpp tokenizes as with the whole model. It is for a model whose weights are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dslocal.errors import CheckpointError

from .architectures import find_architecture
from .checkpoint.config import Config
from .checkpoint.json_file import read_json
from .checkpoint.source import FolderSource, Source
from .checkpoint.tokenizer import FILE, tokenizer_metadata
from .model_keys import architecture_metadata
from .output.gguf_file import OutputFile
from .output.layout import FileLayout

CONFIG = "config.json"
UNKNOWN = "deepseek2"  # stands for an architecture that llama.cpp has no name for


def write_vocabulary(folder: Path, out: Path) -> None:
    """Write the vocabulary of a checkpoint, with what config.json says of the model.

    Args:
        folder: Has tokenizer.json, and tokenizer_config.json and config.json where they are known.
        out: The GGUF file.

    Raises:
        CheckpointError: A file is missing or damaged, or llama.cpp cannot run the tokenizer.
        ConversionError: Another process is writing it.
        OSError: It cannot be written.
    """
    source = FolderSource(folder)
    config = _config(source)
    arch, keys = _model_keys(config)
    metadata = [("general.name", source.name), *keys.items(), *tokenizer_metadata(source, config)]
    with OutputFile(out, FileLayout((), 0), arch, metadata) as file:
        file.begin()
        file.sync()
        file.finish()


def _config(source: Source) -> Config:
    """Return config.json, or what stands for it where only the tokenizer is known."""
    if source.exists(CONFIG):
        return Config(read_json(source, CONFIG), CONFIG)
    ids = list(_ids(read_json(source, FILE)))
    return Config({"vocab_size": max(ids, default=0) + 1, "architectures": [""]}, CONFIG)


def _ids(tokenizer: dict[str, Any]) -> Iterator[int]:
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from (id for id in vocabulary.values() if isinstance(id, int))
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            yield token["id"]


def _model_keys(config: Config) -> tuple[str, dict[str, Any]]:
    """Return the architecture and its keys, as far as they are known."""
    try:
        architecture = find_architecture(config)
        return architecture.arch, architecture_metadata(architecture, config, 0)
    except CheckpointError:  # of a model that is not converted here, or not yet
        return UNKNOWN, {}
