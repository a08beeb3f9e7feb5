"""Build the library with llama.cpp's RPC backend from the source of the installed llama-cpp-python.

Two C++ files are compiled against the ggml of llama-cpp-python, so that the library and the package
come from the same llama.cpp. The source is the package's own sdist, which pip fetches and checks,
or a file that the user has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from dslocal.errors import DownloadError, DslocalError, NotFoundError, UsageError
from dslocal.files import write_atomic
from dslocal.gguf import libraries

from .identity import PROTOCOL
from .library import cached_library, llama_cpp_folder

PACKAGE = "llama-cpp-python"
SOURCES = ("ggml-rpc.cpp", "transport.cpp")
COMPILERS = ("c++", "g++", "clang++")
DEFINES = ("-DGGML_BACKEND_SHARED", "-DGGML_BACKEND_BUILD", "-DGGML_SHARED", "-DNDEBUG")
MAX_SOURCE_BYTES = 8 << 20  # of one file
MAX_FILES = 20_000  # in the archive; the sdist of today has 3,900
MAX_SHOWN = 300  # characters of what another program said
PIP_S = 600.0
COMPILER_S = 600.0
_WANTED = re.compile(
    r"[^/]+/vendor/llama\.cpp/ggml/"
    r"(?:include/[\w.-]+\.h|src/[\w.-]+\.h|src/ggml-rpc/[\w.-]+\.(?:h|cpp))"
)


def build_library(sdist: Path | None, say: Callable[[str], None]) -> Path:
    """Build the library into the cache, and return its file.

    Args:
        sdist: the package's source, a ``.tar.gz``; None lets pip fetch it.
        say: receives what is being done.

    Raises:
        UsageError: there is no C++ compiler.
        NotFoundError: there is no such source.
        DownloadError: pip does not get the source.
        DslocalError: the source is another version's, or does not compile.
    """
    compiler = _compiler()
    target = cached_library()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dslocal-rpc-") as name:
        folder = Path(name)
        if sdist is None:
            say(f"fetching the source of {PACKAGE} {libraries.version()}")
            sdist = _download(folder)
        source = _extract(sdist, folder / "source")
        _check_protocol(source)
        say(f"compiling with {Path(compiler).name}")
        made = folder / target.name
        _compile(compiler, source, made)
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        write_atomic(target, made.read_bytes(), beside=beside)
    return target


def _compiler() -> str:
    """Return a C++ compiler: that of ``CXX``, or the first that is there. Raises UsageError."""
    named = os.environ.get("CXX")
    for name in (named,) if named else COMPILERS:
        if found := shutil.which(name):
            return found
    raise UsageError(
        f"{named or 'a C++ compiler'} is not there",
        hint="apt install g++, or xcode-select --install on a Mac; or set CXX to another compiler",
    )


def _download(folder: Path) -> Path:
    """Return the sdist of the installed version, fetched by pip. Raises DownloadError."""
    wanted = f"{PACKAGE}=={libraries.version()}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), wanted]
    hint = (
        f"pip download --no-deps --no-binary {PACKAGE} {wanted}, on any machine; then --sdist FILE"
    )
    said = _run(command, PIP_S)
    found = sorted(folder.glob("*.tar.gz"))
    if not found:
        raise DownloadError(f"pip cannot download the source of {wanted}: {said}", hint=hint)
    return found[0]


def _extract(sdist: Path, folder: Path) -> Path:
    """Unpack what is needed of an sdist, and return the folder of ggml.

    Raises:
        NotFoundError: there is no such file.
        DslocalError: it is no such sdist.
    """
    if not sdist.is_file():
        raise NotFoundError(f"{sdist}: no such file")
    try:
        with tarfile.open(sdist) as archive:
            for member in islice(archive, MAX_FILES):
                found = _WANTED.fullmatch(member.name)
                if not found or not member.isfile() or member.size > MAX_SOURCE_BYTES:
                    continue
                opened = archive.extractfile(member)
                path = folder / member.name.split("/ggml/", 1)[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                if opened is not None:
                    path.write_bytes(opened.read(MAX_SOURCE_BYTES))
    except tarfile.ReadError as e:
        raise DslocalError(
            f"{sdist}: is not a .tar.gz archive", hint="give the sdist of llama-cpp-python"
        ) from e
    except (OSError, EOFError, tarfile.TarError, zlib.error) as e:
        raise DslocalError(f"{sdist}: cannot be unpacked: {e}") from e
    if not all((folder / "src" / "ggml-rpc" / name).is_file() for name in SOURCES):
        raise DslocalError(
            f"{sdist.name}: has no source of llama.cpp's RPC backend",
            hint=f"use the sdist of {PACKAGE} {libraries.version()}",
        )
    return folder


def _check_protocol(source: Path) -> None:
    """Refuse the source of another version. Raises DslocalError."""
    header = (source / "include" / "ggml-rpc.h").read_text(encoding="utf-8", errors="replace")
    parts = ("MAJOR", "MINOR", "PATCH")
    found = tuple(
        int(match[1])
        for part in parts
        if (match := re.search(rf"#define\s+RPC_PROTO_{part}_VERSION\s+(\d+)", header))
    )
    if found != PROTOCOL:
        raise DslocalError(
            f"the source speaks version {'.'.join(map(str, found)) or '?'} of the RPC protocol, "
            f"and {PACKAGE} {libraries.version()} {'.'.join(map(str, PROTOCOL))}",
            hint=f"use the sdist of {PACKAGE} {libraries.version()}",
        )


def _compile(compiler: str, source: Path, made: Path) -> None:
    """Compile and link the library. Raises DslocalError with what the compiler says."""
    folder = llama_cpp_folder()
    linked = _ggml_base(folder) if folder else None
    if folder is None or linked is None:
        raise DslocalError(f"{PACKAGE} has no libggml-base to link with", hint="dslocal doctor")
    command = [compiler, "-O3", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", *DEFINES]
    command += [f"-I{source / 'include'}", f"-I{source / 'src'}"]
    command += [str(source / "src" / "ggml-rpc" / name) for name in SOURCES]
    command += [str(linked), f"-Wl,-rpath,{folder}", "-pthread", "-o", str(made)]
    said = _run(command, COMPILER_S)
    if not made.is_file():
        raise DslocalError(f"the RPC backend does not compile: {said}")


def _ggml_base(folder: Path) -> Path | None:
    """Return llama-cpp-python's copy of ggml, which the library is linked with."""
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _run(command: Sequence[str], timeout: float) -> str:
    """Run a program, and return the last that it said, in one line."""
    try:
        done = subprocess.run(  # noqa: S603 - a compiler, or pip of this interpreter
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError) as e:
        return str(e)[:MAX_SHOWN]
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines[-1:]
    return " ".join(errors)[:MAX_SHOWN]
