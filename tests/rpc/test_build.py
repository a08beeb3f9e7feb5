"""Proves that the library is made from the right source alone, and from nothing outside of it."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dslocal.errors import DownloadError, DslocalError, NotFoundError, UsageError
from dslocal.gguf import libraries
from dslocal.rpc import build, library

ROOT = "llama_cpp_python-0.3.36/vendor/llama.cpp/ggml"
HEADER = "#define RPC_PROTO_{}_VERSION {}\n"


def protocol_header(*numbers: int) -> bytes:
    parts = zip(("MAJOR", "MINOR", "PATCH"), numbers, strict=True)
    return "".join(HEADER.format(part, number) for part, number in parts).encode()


def write_sdist(path: Path, files: dict[str, bytes], link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if link:
            member = tarfile.TarInfo(link)
            member.type = tarfile.SYMTYPE
            member.linkname = "/etc/passwd"
            archive.addfile(member)
    return path


def source(header: bytes, code: bytes = b"this is no C++") -> dict[str, bytes]:
    return {
        f"{ROOT}/include/ggml-rpc.h": header,
        f"{ROOT}/src/ggml-rpc/ggml-rpc.cpp": code,
        f"{ROOT}/src/ggml-rpc/transport.cpp": code,
    }


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))


@pytest.fixture
def any_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # is there, and compiles nothing


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.mark.usefixtures("any_compiler")
def test_the_source_of_another_protocol_is_refused(tmp_path: Path) -> None:
    sdist = write_sdist(tmp_path / "s.tar.gz", source(protocol_header(6, 1, 0)))
    with pytest.raises(DslocalError, match=r"version 6\.1\.0"):
        build.build_library(sdist, quiet)
    assert library.find_library() is None


@pytest.mark.usefixtures("any_compiler")
def test_another_archive_is_refused(tmp_path: Path) -> None:
    sdist = write_sdist(tmp_path / "s.tar.gz", {"a/b.txt": b""})
    with pytest.raises(DslocalError, match=r"no source of llama\.cpp's RPC backend"):
        build.build_library(sdist, quiet)


@pytest.mark.usefixtures("any_compiler")
@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\x1f\x8b" + bytes(100)])
def test_a_damaged_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    sdist = tmp_path / "s.tar.gz"
    sdist.write_bytes(data)
    with pytest.raises(DslocalError):
        build.build_library(sdist, quiet)


@pytest.mark.usefixtures("any_compiler")
@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_an_archive_with_wrong_bytes_is_refused(tmp_path: Path, at: float) -> None:
    """Proves it for bytes at which decompression itself fails."""
    noise = random.Random(3).randbytes(200_000)
    sdist = write_sdist(tmp_path / "s.tar.gz", {"a/noise": noise, **source(b"")})
    data = bytearray(sdist.read_bytes())
    place = int(at * len(data))
    data[place : place + 64] = bytes(64)
    sdist.write_bytes(data)
    with pytest.raises(DslocalError):
        build.build_library(sdist, quiet)


@pytest.mark.usefixtures("any_compiler")
def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        build.build_library(tmp_path / "absent.tar.gz", quiet)


def test_nothing_is_unpacked_outside_and_no_link_is_followed(tmp_path: Path) -> None:
    header = protocol_header(7, 0, 0)
    hostile = {
        **source(header),
        "../../escaped.h": b"",
        f"{ROOT}/src/../../../../../../escaped.h": b"",
        f"{ROOT}/src/ggml-rpc/../../escaped.cpp": b"",
    }
    sdist = write_sdist(tmp_path / "s.tar.gz", hostile, link=f"{ROOT}/include/link.h")
    folder = tmp_path / "out"
    build._extract(sdist, folder)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "s.tar.gz",
        "out/include/ggml-rpc.h",
        "out/src/ggml-rpc/ggml-rpc.cpp",
        "out/src/ggml-rpc/transport.cpp",
    }


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no-such-compiler") as raised:
        build.build_library(tmp_path / "s.tar.gz", quiet)
    assert raised.value.exit_code == 2


def test_a_source_that_does_not_compile_leaves_nothing(tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in build.COMPILERS):
        pytest.skip("no C++ compiler")
    sdist = write_sdist(tmp_path / "s.tar.gz", source(protocol_header(7, 0, 0)))
    with pytest.raises(DslocalError, match=r"does not compile: .*error"):
        build.build_library(sdist, quiet)
    assert library.find_library() is None


@pytest.mark.usefixtures("any_compiler")
def test_a_pip_that_gets_nothing_says_what_else_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError) as raised:
        build.build_library(None, quiet)
    assert "--sdist" in raised.value.hint


def test_without_the_library_the_command_that_makes_it_is_said() -> None:
    with pytest.raises(UsageError) as raised:
        library.require_library()
    assert raised.value.hint.startswith("dslocal build-rpc ")
    assert raised.value.exit_code == 2


@pytest.mark.slow
def test_the_library_is_made_from_the_sdist_and_loads(tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in build.COMPILERS):
        pytest.skip("no C++ compiler")
    try:
        made = build.build_library(None, quiet)
    except DownloadError as e:
        pytest.skip(str(e))
    assert made == library.find_library() == library.cached_library()
    program = "from dslocal.rpc import library; print(library.open_library())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert str(made) in done.stdout
    assert libraries.version() in str(made)
