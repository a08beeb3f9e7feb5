"""Write files as a whole, tell them apart, read bounded JSON, and format sizes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dslocal import files


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_atomic(path, "old")
    files.write_atomic(path, b"n\xc3\xa9w")
    assert path.read_text(encoding="utf-8") == "néw"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        files.write_atomic(folder, "text", beside=tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("is_durable", [True, False])
def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path, is_durable: bool) -> None:
    path = tmp_path / "no folder" / "a.json"
    with pytest.raises(FileNotFoundError) as caught:
        files.write_atomic(path, "text", is_durable=is_durable)
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)


def test_a_closed_stdin_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not files.stdin_is_terminal()


def test_a_private_file_is_private_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its name is the file's, too, and though somebody left a file there that all may
    read.
    """
    path, beside = tmp_path / "a", tmp_path / "a.part"
    beside.write_text("left by a process that was killed")
    beside.chmod(0o644)
    modes: list[int] = []
    sync = os.fsync

    def look(file: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(file).st_mode))
        sync(file)

    monkeypatch.setattr(os, "fsync", look)
    monkeypatch.setattr(os, "fchmod", lambda *_: pytest.fail("it was readable until then"))
    files.write_atomic(path, "mine", beside=beside, is_private=True)
    assert modes[0] == stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "mine"


def test_a_fingerprint_sees_size_and_samples(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(4 << 20))
    first = files.sampled_fingerprint(path)
    path.write_bytes(bytes((4 << 20) + 1))
    longer = files.sampled_fingerprint(path)
    path.write_bytes(bytes((4 << 20) - 1) + b"\1")
    other_end = files.sampled_fingerprint(path)
    assert len({first, longer, other_end}) == 3
    assert all(len(found) == 64 for found in (first, longer, other_end))


def test_a_fingerprint_by_time_reads_no_content(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    first = files.stat_fingerprint([path], "salt")
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert files.stat_fingerprint([path], "salt") == first
    assert files.stat_fingerprint([path], "other salt") != first
    os.utime(path, ns=(2, 2))
    assert files.stat_fingerprint([path], "salt") != first


def test_a_json_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1]}', encoding="utf-8")
    assert files.read_json_object(path, max_bytes=10) == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[]", "not a JSON object"),
        (b"{", "Expecting property name"),
        (b"\xff", "is not UTF-8 text"),
        (b'{"a":' * 100_000, "nested too deep|more than"),
        (b'{"a": "' + b"x" * 1000 + b'"}', "more than 1,000 bytes"),
    ],
    ids=["list", "cut off", "not UTF-8", "nested", "long"],
)
def test_what_is_not_a_small_json_object_is_a_value_error(
    content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        files.read_json_object(path, max_bytes=1000)
    if len(content) > 10_000:
        with pytest.raises(ValueError, match="nested too deep"):
            files.parse_json_object(content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (files.decimal_size(1_234_567_890_123), "1,234.6 GB"),
        (files.decimal_size(4_700_000_000), "4.7 GB"),
        (files.decimal_size(27_160_000), "27.2 MB"),
        (files.decimal_size(27_150_000, mb_decimals=0), "27 MB"),
        (files.binary_size(3 << 29), "1.5 GiB"),
        (files.binary_size(300 << 20), "300 MiB"),
        (files.binary_size(512 << 20, gib_from=0), "0.5 GiB"),
        (files.binary_size(9 << 30, gib_from=10 << 30), "9,216 MiB"),
    ],
)
def test_sizes_as_text(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8192", 8192),
        ("0", 0),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("9" * 5000, None),
        ("٣", None),
    ],
    ids=lambda value: f"{value!r:.10}",
)
def test_whole_numbers(text: str, number: int | None) -> None:
    """Python itself raises where a text has thousands of digits."""
    assert files.whole_number(text) == number


@pytest.mark.parametrize("parse", [files.parse_json_object, files.parse_strict_json])
def test_a_number_of_thousands_of_digits_in_json(parse: Callable[[str], Any]) -> None:
    """Python's own sentence names one of its settings."""
    assert parse('{"n": ' + "9" * 4300 + "}") == {"n": 10**4300 - 1}
    with pytest.raises(ValueError, match=r"^a number of 5,000 digits$"):
        parse('{"n": ' + "9" * 5000 + "}")
