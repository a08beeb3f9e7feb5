"""The names of models.yaml without parsing YAML, which takes too long for a press of Tab."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dslocal.files import utf8_text
from dslocal.home.paths import config_dir, registry_file

_COMMENT_LINE = re.compile(r"^\s*#.*\n?", re.MULTILINE)
_MODELS = re.compile(r"^models:[^\n]*\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^  ([a-z0-9][a-z0-9._-]{0,95}):", re.MULTILINE)


def quick_model_names() -> Iterator[str]:
    """Yield the names in the file that ships, then in the user's own.

    Names that are indented by other than two spaces are overlooked.
    """
    seen = set()
    for file in (registry_file(), config_dir() / "models.yaml"):
        try:
            text = _COMMENT_LINE.sub("", utf8_text(file.read_bytes()))
        except (OSError, ValueError):
            continue
        section = _MODELS.search(text)
        for name in _NAME.findall(section[1]) if section else ():
            if name not in seen:
                seen.add(name)
                yield name
