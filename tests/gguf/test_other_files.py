"""Prove that a file in the place of a GGUF model is named for what it is, with what to do about it.

Through the reader that every command uses, for files by content, by name, and by the kind of GGUF.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from dslocal.errors import DslocalError, GgufError, NotFoundError
from dslocal.file_kinds import HEAD_BYTES, content_kind, name_kind
from dslocal.gguf import first_part, read_parts

STRING = 8
U32 = 4


def gguf(metadata: dict[str, str | int], *, tensors: int = 1, version: int = 3) -> bytes:
    """A GGUF file with this metadata and small tensors."""
    order = ">" if version > 1 << 16 else "<"

    def text(value: str) -> bytes:
        return struct.pack(order + "Q", len(value.encode())) + value.encode()

    head = b"GGUF" + struct.pack("<I", version) + struct.pack(order + "QQ", tensors, len(metadata))
    for key, value in metadata.items():
        if isinstance(value, str):
            head += text(key) + struct.pack(order + "I", STRING) + text(value)
        else:
            head += text(key) + struct.pack(order + "II", U32, value)
    for number in range(tensors):
        head += text(f"t{number}") + struct.pack(order + "IQIQ", 1, 32, 0, number * 128)
    return head + bytes(-len(head) % 32) + bytes(128 * tensors)


MODEL = gguf({"general.architecture": "llama"})
LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4683073536\n"
)
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0"

# what is in a file called model.gguf, what the message says, and what the hint says
CONTENTS: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "empty, 0 bytes", "download it again"),
    "a git-lfs pointer": (LFS, "a git-lfs pointer to 4.7 GB", "git lfs pull"),
    "a pointer cut short": (LFS[:60], "a git-lfs pointer", "git lfs pull"),
    "a web page": (b"<!doctype html><title>Hugging Face", "a web page (HTML)", "/resolve/"),
    "a page after blank lines": (b"\n\n <HTML>", "a web page (HTML)", "/resolve/"),
    "an error of S3": (b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML", "download"),
    "an error in JSON": (
        b'{"error":"Unauthorized"}',
        "JSON text that begins",
        "look into the file",
    ),
    "an error as text": (b"Entry not found", "plain text that begins 'Entry not found'", "look"),
    "Chinese": ("模型不存在".encode() * 200, "plain text that begins '模型", "look"),
    "blanks": (b"\n" * 50, "text without any content", "download"),
    "zeros": (bytes(4096), "zeros at its beginning", "download"),
    "zip": (b"PK\3\4" + bytes(200), "a ZIP archive", "unpack"),
    "gzip": (b"\x1f\x8b\x08" + bytes(200), "gzip", "unpack"),
    "bzip2": (b"BZh9" + bytes(200), "bzip2", "unpack"),
    "xz": (b"\xfd7zXZ\0" + bytes(200), "xz", "unpack"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(200), "zstd", "unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(200), "7-Zip", "unpack"),
    "rar": (b"Rar!\x1a\x07" + bytes(200), "RAR", "unpack"),
    "tar": (b"model.gguf" + bytes(247) + b"ustar\0" + bytes(249), "tar archive", "unpack"),
    "GGML": (b"lmgg" + bytes(200), "a GGML file, of the formats before GGUF", "GGUF"),
    "GGJT": (b"tjgg\3\0\0\0" + bytes(200), "a GGML file", "GGUF"),
    "GGMF": (b"fmgg\1\0\0\0" + bytes(200), "a GGML file", "GGUF"),
    "GGLA": (b"algg\1\0\0\0" + bytes(200), "a LoRA adapter of GGML's", "GGUF"),
    "safetensors": (b"\x02" + bytes(7) + b"{}", "a safetensors file", "the checkpoint's folder"),
    "PyTorch": (b"\x80\x02\x8a\x0a" + bytes(200), "a pickle", "never opened"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "HDF5", "GGUF"),
    "NumPy": (b"\x93NUMPY\1\0" + bytes(200), "a NumPy array", "GGUF"),
    "ONNX": (ONNX + bytes(200), "an ONNX model", "GGUF"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(200), "TensorFlow Lite", "GGUF"),
    "a llamafile": (b"MZqFpD='\n" + bytes(200), "a llamafile", "GGUF"),
    "an old imatrix": (
        struct.pack("<II", 7, 21) + b"blk.0.ffn_down.weight" + bytes(200),
        "an importance matrix",
        "--imatrix takes it",
    ),
    "a note of macOS": (b"\0\x05\x16\x07" + bytes(200), "a note of macOS", "without ._"),
    "an iCloud placeholder": (b"bplist00" + bytes(200), "a placeholder of iCloud", "Finder"),
    "a shortcut": (b"L\0\0\0\x01\x14\x02\0" + bytes(99), "a shortcut of Windows", "leads to"),
    "a torrent": (b"d8:announce35:udp://x", "a torrent file", "describes"),
    "a web link": (b"[InternetShortcut]\r\nURL=x", "a link to a web page", "itself"),
    "git-annex": (b"/annex/objects/SHA256E-s9--ab.gguf\n", "a git-annex pointer", "git annex get"),
    "Xet": (b"# xet version 0\nfilesize = 9\n", "a pointer of Xet", "downloads"),
    "a Modelfile": (b"FROM ./x.gguf\n", "plain text that begins 'FROM ./x.gguf'", "look"),
    "PDF": (b"%PDF-1.7" + bytes(200), "a PDF", "download"),
    "noise": (bytes(range(128, 256)) * 9, "not a GGUF file", "dslocal convert makes a GGUF file"),
    "big endian": (gguf({"a": 1}, version=3 << 24), "is a big-endian GGUF file", "little-endian"),
    "version 1": (gguf({}, version=1), "GGUF version 1", "a newer file"),
    "version 9": (gguf({}, version=9), "GGUF version 9", "update dslocal"),
}


@pytest.mark.parametrize(("data", "words", "hint"), CONTENTS.values(), ids=CONTENTS)
def test_a_file_is_named_by_its_content(data: bytes, words: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(data)
    error = refusal(tmp_path / "model.gguf")
    assert str(error).startswith("model.gguf: ")
    assert words in str(error)
    assert hint in error.hint


def refusal(path: Path) -> GgufError:
    with pytest.raises(GgufError) as caught:
        read_parts(path)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    assert caught.value.hint.isprintable()
    return caught.value


# the names of parts of MODEL, cut in two
NAMES: dict[str, tuple[str, str]] = {
    "x.gguf.part1of2": ("piece 1 of 2", "cat x.gguf.part1of2 x.gguf.part2of2 > x.gguf"),
    "x.Q8_0.gguf.part3of3": ("piece 3 of 3", "x.Q8_0.gguf.part3of3 > x.Q8_0.gguf"),
    "x.gguf.part02of12": ("piece 2 of 12", "cat x.gguf.part{1..12}of12 > x.gguf"),
    "x.gguf-split-a": ("one piece of a file", "cat x.gguf-split-* > x.gguf"),
    "x.gguf-split-ab": ("one piece of a file", "cat x.gguf-split-* > x.gguf"),
    "x.gguf.part-aa": ("one piece of a file", "cat x.gguf.part-* > x.gguf"),
    "x.gguf.parta": ("one piece of a file", "cat x.gguf.part* > x.gguf"),
    "x.gguf.part2": ("one piece of a file", "cat x.gguf.part* > x.gguf"),
    "x.gguf.aa": ("one piece of a file", "cat x.gguf.* > x.gguf"),
    "x.gguf.001": ("one piece of a file", "cat x.gguf.* > x.gguf"),
    "x.gguf.crdownload": ("an unfinished file of Chrome", "download the file again"),
    "Unconfirmed 1.crdownload": ("an unfinished file of Chrome", "finish"),
    "x.gguf.opdownload": ("an unfinished file of Opera", "finish"),
    "x.gguf.download": ("an unfinished file of Safari", "finish"),
    "0a1b.incomplete": ("an unfinished file of Hugging Face's tools", "finish"),
    "x.gguf.aria2": ("an unfinished file of aria2", "finish"),
    "x.gguf.part": ("an unfinished file of Firefox, curl or dslocal", "finish"),
    "sha256-0a-partial": ("an unfinished file of Ollama", "finish"),
    "x.gguf.!qB": ("an unfinished file of qBittorrent", "finish"),
    "x.gguf.tmp": ("an unfinished file of some program", "finish"),
}


@pytest.mark.parametrize("half", [0, 1], ids=["first half", "second half"])
@pytest.mark.parametrize(("name", "said"), NAMES.items(), ids=NAMES)
def test_a_cut_file_is_named_by_its_name(
    name: str, said: tuple[str, str], half: int, tmp_path: Path
) -> None:
    middle = len(MODEL) // 2
    (tmp_path / name).write_bytes((MODEL[:middle], MODEL[middle:])[half])
    error = refusal(tmp_path / name)
    assert said[0] in str(error)
    assert said[1] in error.hint


@pytest.mark.parametrize("name", ["x.gguf.part", "x.gguf.tmp", "x.part1of1", "x"])
def test_a_whole_file_of_such_a_name_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(MODEL)
    assert read_parts(tmp_path / name)[1].architecture == "llama"


def test_a_whole_length_with_aria2s_note_beside_it(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(MODEL)
    (tmp_path / "x.gguf.aria2").write_bytes(b"\0\1")
    assert "unfinished download of aria2" in str(refusal(tmp_path / "x.gguf"))


KINDS: dict[str, tuple[dict[str, str | int], int, str, str]] = {
    "a LoRA": (
        {"general.type": "adapter", "adapter.type": "lora", "general.base_model.0.name": "R1"},
        1,
        "is a LoRA adapter",
        "merge it into R1",
    ),
    "an old LoRA": ({"adapter.type": "lora"}, 1, "is a LoRA adapter", "its base model"),
    "an imatrix": ({"general.type": "imatrix"}, 1, "importance matrix", "--imatrix"),
    "an mmproj": ({"general.type": "mmproj"}, 1, "image projector", "language model"),
    "an old mmproj": ({"general.architecture": "clip"}, 1, "image projector", "language model"),
    "a control vector": ({"general.architecture": "controlvector"}, 1, "control vector", "model"),
    "a vocabulary": ({"general.architecture": "deepseek2"}, 0, "holds no weights", "download"),
}


@pytest.mark.parametrize(("metadata", "tensors", "words", "hint"), KINDS.values(), ids=KINDS)
def test_other_gguf_files_are_named(
    metadata: dict[str, str | int], tensors: int, words: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf(metadata, tensors=tensors))
    error = refusal(tmp_path / "x.gguf")
    assert words in str(error)
    assert hint in error.hint


def split(folder: Path, count: int = 3) -> list[Path]:
    files = []
    for number in range(count):
        file = folder / f"m-{number + 1:05}-of-{count:05}.gguf"
        keys: dict[str, Any] = {"split.no": number, "split.count": count}
        file.write_bytes(gguf(keys).replace(b"t0", f"t{number}".encode()))
        files.append(file)
    return files


def test_any_part_stands_for_the_model(tmp_path: Path) -> None:
    files = split(tmp_path)
    for file in files:
        assert first_part(file) == files[0]
        assert read_parts(file)[0] == tuple(files)
    files[0].unlink()
    assert first_part(files[2]) == files[2]
    with pytest.raises(NotFoundError, match=r"m-00001-of-00003\.gguf: is missing: part 1 of 3"):
        read_parts(files[2])


def test_a_name_that_only_looks_like_a_part(tmp_path: Path) -> None:
    alone = tmp_path / "m-00002-of-00003.gguf"
    alone.write_bytes(MODEL)
    assert first_part(alone) == alone
    assert read_parts(alone)[0] == (alone,)


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_text_cut_within_a_character_is_text(cut: int) -> None:
    data = ("é𝄞模" * HEAD_BYTES).encode()[: HEAD_BYTES - cut]
    kind = content_kind(data, 10_000)
    assert kind is not None
    assert kind.what.startswith("plain text")


@pytest.mark.parametrize(
    "name",
    ["model.gguf", "m-00001-of-00002.gguf", "DeepSeek.Q4_K_M.gguf", "x.safetensors", "x", ""],
)
def test_names_that_say_nothing(name: str) -> None:
    assert name_kind(name) is None


def test_missing_files_stay_missing(tmp_path: Path) -> None:
    with pytest.raises(DslocalError, match="no such file"):
        read_parts(tmp_path / "x.gguf.part1of2")
