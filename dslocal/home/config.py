"""Read config.toml as the user wrote it, and again only after it has changed.

Does not know what its keys mean.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dslocal.errors import UsageError
from dslocal.files import read_limited, utf8_text

from .paths import config_dir

MAX_BYTES = 1 << 20
MAX_KEY_PARTS = 16  # of a dotted key: tomllib takes quadratic time for them
# Comments and texts, in which dots have no meaning; a text that is left open reaches to its end.
_TEXTS = re.compile(
    r'''"""(?:\\.|[^\\])*?(?:"""|\Z)|'{3}.*?(?:'{3}|\Z)'''
    r"""|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|\#[^\n]*""",
    re.DOTALL,
)
_BETWEEN_KEYS = re.compile(r"[^\w\-. \t]+")


def config_file() -> Path:
    """Return where config.toml is, if there is one."""
    return config_dir() / "config.toml"


def read_config() -> Mapping[str, Any]:
    """Return all that is in config.toml; empty where there is none.

    Raises:
        UsageError: It cannot be read, or is not TOML; the message names the file.
    """
    file = config_file()
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise _unreadable(file, e) from e
    return _read_unchanged(file, (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=4)
def _read_unchanged(file: Path, _: object) -> Mapping[str, Any]:
    """Read the file once for each stamp of time and size."""
    try:
        data = read_limited(file, max_bytes=MAX_BYTES)
        if len(data) > MAX_BYTES:
            raise UsageError(
                f"{file}: more than {MAX_BYTES:,} bytes",
                hint="keep only settings and templates in it",
            )
        text = utf8_text(data)
        if _most_key_parts(text) > MAX_KEY_PARTS:
            raise UsageError(
                f"{file}: a key has more than {MAX_KEY_PARTS} parts",
                hint="dslocal help settings shows what may stand there",
            )
        return _parsed(file, text)
    except OSError as e:
        raise _unreadable(file, e) from e
    except (ValueError, RecursionError) as e:
        raise UsageError(
            f"{file}: {e}", hint="dslocal help settings shows what may stand there"
        ) from e


def _parsed(file: Path, toml: str) -> Mapping[str, Any]:
    """Return what a text of TOML says. Raises UsageError for a number that Python does not read."""
    import tomllib

    try:
        return tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # that tomllib raises itself has a class of its own
        raise UsageError(
            f"{file}: a number in it has thousands of digits",
            hint="dslocal help settings shows what may stand there",
        ) from None


def _most_key_parts(toml: str) -> int:
    """Return how many parts the longest dotted key has, or more."""
    pieces = _BETWEEN_KEYS.split(_TEXTS.sub("_", toml))
    return 1 + max(piece.count(".") for piece in pieces)


def _unreadable(file: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{file}: cannot be read: {error.strerror}", hint="dslocal doctor checks the whole file"
    )
