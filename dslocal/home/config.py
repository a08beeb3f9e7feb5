"""config.toml, as the user wrote it: read once for as long as it stays the same. What its keys mean
is for others to say.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dslocal.errors import UsageError

from .paths import config_dir

MAX_BYTES = 1 << 20


def config_file() -> Path:
    """Where it is, if there is one."""
    return config_dir() / "config.toml"


def read_config() -> Mapping[str, Any]:
    """All that is in it, empty when there is none. Raises UsageError, which names the file, when it
    cannot be read.
    """
    file = config_file()
    try:
        stat = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise UsageError(
            f"{file}: cannot be read: {e.strerror}", hint="dslocal doctor looks at all of it"
        ) from e
    return _unchanged(file, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=4)
def _unchanged(file: Path, _: object) -> Mapping[str, Any]:
    import tomllib

    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(
                f"{file}: more than {MAX_BYTES:,} bytes",
                hint="it holds settings and templates, not texts",
            )
        return tomllib.loads(data.decode("utf-8"))
    except OSError as e:
        raise UsageError(
            f"{file}: cannot be read: {e.strerror}", hint="dslocal doctor looks at all of it"
        ) from e
    except (ValueError, RecursionError) as e:
        raise UsageError(
            f"{file}: {e}", hint="dslocal help settings shows what may stand there"
        ) from e
