"""Find and open the shared library with llama.cpp's RPC backend.

llama-cpp-python's wheels come without it. One that was built with ``CMAKE_ARGS=-DGGML_RPC=ON`` has
it beside its other libraries; else it is in dslocal's cache, where :mod:`.build` puts it. It is
opened after llama_cpp, whose copy of ggml it then uses.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

from dslocal import home
from dslocal.errors import EngineMissingError, UsageError
from dslocal.gguf import libraries

from .identity import GGML_VERSION, PROTOCOL, own_identity

BUILD_COMMAND = "dslocal build-rpc"
NEEDED = ("ggml_backend_rpc_add_server", "ggml_backend_rpc_start_server")
_SUFFIXES = {"darwin": (".dylib", ".so"), "win32": (".dll",)}


def library_name() -> str:
    """Return the name of the file that :mod:`.build` makes."""
    return "libggml-rpc" + _SUFFIXES.get(sys.platform, (".so",))[0]


def cached_library() -> Path:
    """Return where the library of the installed llama-cpp-python is kept, made or not."""
    protocol = ".".join(map(str, PROTOCOL))
    folder = f"{libraries.version()}-{GGML_VERSION}-rpc{protocol}"
    return home.cache_dir() / "rpc" / folder / library_name()


def find_library() -> Path | None:
    """Return the library's file: llama-cpp-python's own, else the one in the cache, else None.

    Does not load llama.cpp.
    """
    folder = llama_cpp_folder()
    names = [f"libggml-rpc{suffix}" for suffix in _SUFFIXES.get(sys.platform, (".so",))]
    own = [folder / name for name in names] if folder else []
    return next((file for file in (*own, cached_library()) if file.is_file()), None)


def llama_cpp_folder() -> Path | None:
    """Return the folder of llama-cpp-python's shared libraries; None where it is not installed."""
    from importlib.util import find_spec

    try:
        spec = find_spec("llama_cpp")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).parent / "lib"


def require_library() -> Path:
    """Return the library's file.

    Raises:
        UsageError: there is none; the hint is the command that makes it.
    """
    found = find_library()
    if found is None:
        raise UsageError(
            f"llama-cpp-python {libraries.version()} lacks the RPC backend, which runs one model "
            "on several machines",
            hint=f"{BUILD_COMMAND} builds it, in half a minute and with a C++ compiler",
        )
    return found


@functools.cache
def open_library() -> Any:
    """Return the library, opened once; llama_cpp is loaded before.

    Raises:
        UsageError: there is none.
        EngineMissingError: it does not load, or llama.cpp does not.
    """
    file = require_library()
    own_identity()  # loads llama_cpp, whose ggml the library's symbols are found in
    try:
        library = ctypes.CDLL(str(file))
        for name in NEEDED:
            getattr(library, name)
    except (OSError, AttributeError) as e:
        raise EngineMissingError(
            f"{file}: does not load: {e}", hint=f"{BUILD_COMMAND} --force builds it again"
        ) from e
    return library


def function(name: str, restype: Any, *argtypes: Any) -> Any:
    """Return a function of the library as a ctypes call. Raises as :func:`open_library`."""
    found = getattr(open_library(), name)
    found.restype, found.argtypes = restype, list(argtypes)
    return found
