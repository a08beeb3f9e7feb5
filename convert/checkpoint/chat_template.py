"""The vendor's chat templates, wherever a checkpoint keeps them.

transformers has written them into tokenizer_config.json, as one text or a list of named ones, into
chat_template.json, and since 4.52 into chat_template.jinja with others beside it in a folder. All
of that is the same thing. The order of search is that of llama.cpp's gguf-py
(``SpecialVocab._try_load_from_tokenizer_json``); no template is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from dslocal.errors import CheckpointError
from dslocal.files import utf8_text

from .json_file import read_json
from .source import Source

JINJA = "chat_template.jinja"
JSON = "chat_template.json"
FOLDER = "additional_chat_templates"
DEFAULT = "default"
MAX_TEMPLATE = 1 << 20  # bytes or characters of one
MAX_TEMPLATES = 32
_OUTSIDE_OF_NAMES = re.compile(r"[^A-Za-z0-9]")


def chat_template_metadata(
    source: Source, settings: dict[str, Any], notice: Callable[[str], None]
) -> Iterator[tuple[str, Any]]:
    """Yield the keys of the chat templates: named ones, the list of their names, the default.

    Args:
        source: The files of the checkpoint.
        settings: The content of tokenizer_config.json.
        notice: Receives what the user should know.

    Raises:
        CheckpointError: A file cannot be read, or is not text.
    """
    templates = _named_templates(settings.get("chat_template"))
    from_files = _templates_in_files(source)
    if templates and from_files and templates.get(DEFAULT) != from_files.get(DEFAULT):
        notice(
            f"tokenizer_config.json and {JINJA} have different chat templates: the first is used"
        )
    templates = templates or from_files
    for name in [name for name, text in templates.items() if len(text) > MAX_TEMPLATE]:
        notice(f"the chat template {name!r} is left out: more than {MAX_TEMPLATE:,} characters")
        del templates[name]
    others = sorted(name for name in templates if name != DEFAULT)
    for name in others:
        yield f"tokenizer.chat_template.{name}", templates[name]
    if others:
        yield "tokenizer.chat_templates", others
        which = f"{DEFAULT} is used" if DEFAULT in templates else f"none is called {DEFAULT}"
        notice(f"{len(templates)} chat templates ({', '.join(templates)}): {which}")
    if DEFAULT in templates:
        yield "tokenizer.chat_template", templates[DEFAULT]


def _named_templates(value: object) -> dict[str, str]:
    """Return templates by name from what JSON holds: a text, a list of named ones, or an object."""
    found: dict[str, str] = {}
    if isinstance(value, str):
        found[DEFAULT] = value
    elif isinstance(value, dict):
        _add(found, value.items())
    elif isinstance(value, list):
        entries = [entry for entry in value if isinstance(entry, dict)]
        _add(found, ((entry.get("name"), entry.get("template")) for entry in entries))
    return found


def _add(found: dict[str, str], pairs: Any) -> None:
    """Add the pairs that are a name and a template; names are kept as gguf-py writes them."""
    for name, text in pairs:
        if isinstance(name, str) and isinstance(text, str) and len(found) < MAX_TEMPLATES:
            plain = _OUTSIDE_OF_NAMES.sub("_", name)[:64]
            if plain:
                found[plain] = text


def _templates_in_files(source: Source) -> dict[str, str]:
    """Return templates by name from the files that hold nothing else. Raises CheckpointError."""
    if source.exists(JINJA):
        found = {DEFAULT: _read_template(source, JINJA)}
        for file in source.files(FOLDER)[:MAX_TEMPLATES]:
            if file.endswith(".jinja"):
                name = file.removesuffix(".jinja")
                _add(found, [(name, _read_template(source, f"{FOLDER}/{file}"))])
        return found
    if source.exists(JSON):
        return _named_templates(read_json(source, JSON).get("chat_template"))
    return {}


def _read_template(source: Source, file: str) -> str:
    size = source.size(file)
    if size > MAX_TEMPLATE:
        raise CheckpointError(
            f"is {size:,} bytes long; more than {MAX_TEMPLATE:,} cannot be right", file=file
        )
    with source.open(file) as opened:
        try:
            return utf8_text(opened.read(size))
        except ValueError as e:
            raise CheckpointError(f"is not text ({e})", file=file) from None
