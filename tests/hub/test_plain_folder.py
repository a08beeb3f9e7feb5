"""Use a plain folder behind a URL as a source, and only what its SHA256SUMS vouches for."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hub.hub_runs import Rig, converted, listing, sha256, shards_of, tensors_of

from dslocal import catalog
from dslocal.gguf.header import read_header

OUT = "v3-like-Q4_K_M.gguf"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    """The small checkpoint, to be changed."""
    return Path(shutil.copytree(small, tmp_path / "served" / "v3-like"))


@pytest.fixture(scope="session")
def plain(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What becomes of it as a folder."""
    return converted(small, tmp_path_factory.mktemp("expected") / OUT)


def same(out: Path, plain: Path, *, streamed: bool = False) -> bool:
    """Return whether ``out`` is ``plain``, but for the hashes of its source.

    A stream knows those, and a folder does not.
    """
    metadata, expected = dict(read_header(out).metadata), read_header(plain).metadata
    known = [metadata.pop(key, None) for key in ("dslocal.source.files", "dslocal.source.sha256")]
    return tensors_of(out) == tensors_of(plain) and metadata == expected and all(known) == streamed


def sums_of(folder: Path) -> str:
    """Return a folder's SHA256SUMS."""
    return "".join(
        f"{sha256(path)}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "SHA256SUMS"
    )


@pytest.mark.parametrize("more", [(), ("--stream",)], ids=["whole", "stream"])
def test_it_is_converted(calm: Rig, folder: Path, plain: Path, more: tuple[str, ...]) -> None:
    url = calm.hub.serve_folder("/pub/v3-like", folder)
    done = calm.inside("convert", f"{url}/", *more)
    assert done.returncode == 0, done.stderr
    assert same(calm.out / OUT, plain, streamed=bool(more))
    assert (calm.left(), listing(calm.hf)) == ([OUT], [])
    assert {
        shard: calm.hub.complete_fetches(shard) for shard in shards_of(folder)
    } == dict.fromkeys(shards_of(folder), 1)
    kept = (
        {Path(name).name for name in listing(calm.home / "cache" / "checkpoints")}
        if not more
        else set()
    )
    assert kept == (set() if more else {path.name for path in folder.iterdir()})
    if not more:
        calm.hub.forget()
        assert calm.inside("convert", url, "--force").returncode == 0
        assert {one.method for one in calm.hub.requests if one.file != "SHA256SUMS"} == {"HEAD"}


@pytest.mark.parametrize("more", [(), ("--stream",)], ids=["whole", "stream"])
def test_as_sha256sum_writes_it(
    calm: Rig, folder: Path, plain: Path, more: tuple[str, ...]
) -> None:
    lines = [f"{sha256(path).upper()} *./{path.name}" for path in folder.iterdir()]
    text = "# sums\n\n" + "\r\n".join(
        [*lines, "0" * 64 + "  notes.txt", "0" * 64 + "  sub/model.safetensors.md"]
    )
    (folder / "SHA256SUMS").write_text(text, encoding="utf-8")
    (folder / "generation_config.json.bak").write_bytes(b"not listed")
    done = calm.inside("convert", calm.hub.serve_folder("/pub/v3-like", folder), *more)
    assert done.returncode == 0, done.stderr
    assert same(calm.out / OUT, plain, streamed=bool(more))


def replace_sums(make: Callable[[str], str | None]) -> Callable[[Path], None]:
    """Return a change of a folder that puts a changed SHA256SUMS into it."""

    def do(folder: Path) -> None:
        text = make(sums_of(folder))
        if text is not None:
            (folder / "SHA256SUMS").write_text(text, encoding="utf-8")

    return do


def without(name: str) -> Callable[[str], str]:
    """Return a change of SHA256SUMS that leaves a file out."""
    return lambda text: "".join(
        line for line in text.splitlines(True) if not line.endswith(f"  {name}\n")
    )


def with_hash(name: str, found: str) -> Callable[[str], str]:
    """Return a change of SHA256SUMS that gives a file another hash."""
    return lambda text: without(name)(text) + f"{found}  {name}\n"


OTHER = hashlib.sha256(b"other").hexdigest()
LISTINGS = {
    "a wrong hash": (with_hash(SHARD, OTHER), 1, f"{SHARD}: is damaged: its hash is "),
    "a wrong hash of the configuration": (
        with_hash("config.json", OTHER),
        1,
        "config.json: is damaged: its hash is ",
    ),
    "an invalid hash": (
        with_hash(SHARD, "x" * 64),
        1,
        "SHA256SUMS: line 8: no SHA-256 and name (write it as sha256sum does)",
    ),
    "half a hash": (with_hash(SHARD, OTHER[:40]), 1, "SHA256SUMS: line 8: no SHA-256 and name"),
    "a page": (
        lambda text: "<html><body>Not Found</body></html>",
        1,
        "SHA256SUMS: line 1: no SHA-256 and name",
    ),
    "no name": (lambda text: f"{text}{OTHER}\n", 1, "lists a file with an unusable name, ''"),
    "a quantization is given twice": (
        lambda text: text + text.splitlines()[0],
        1,
        "lists 'config.json' twice",
    ),
    "a file that is not there": (
        lambda text: f"{text}{OTHER}  gone.safetensors\n",
        3,
        "gone.safetensors: not found",
    ),
    "a way out": (
        lambda text: f"{text}{OTHER}  ../../x.json\n",
        1,
        "lists '../../x.json', which leads out of the repository",
    ),
    "no configuration": (without("config.json"), None, "config.json"),
    "a shard is not listed": (without(SHARD), 1, f"{SHARD}: is missing from"),
    "nothing": (lambda text: "", None, "config.json"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_that_is_wrong(calm: Rig, folder: Path, name: str, stream: bool) -> None:
    change, code, words = LISTINGS[name]
    replace_sums(change)(folder)
    done = calm.inside(
        "convert", calm.hub.serve_folder("/pub/v3-like", folder), *(["--stream"] if stream else [])
    )
    said = done.stderr.decode().splitlines()
    if code is None:
        code = 1 if stream else 3
    assert (done.returncode, done.stdout) == (code, b""), said
    assert words in said[-1]
    assert "Traceback" not in done.stderr.decode()
    if "hash of" in name:
        assert ", twice (the file was kept as " in said[-1]
    if "model" not in words:
        assert calm.left() == []
    assert not (calm.out / OUT).exists()


def test_without_a_listing(calm: Rig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = calm.hub.serve_folder("/pub/v3-like", folder)
    calm.hub.fault("SHA256SUMS", "status", times=None, status=404)
    for more in ((), ("--stream",)):
        done = calm.inside("convert", url, *more)
        assert (done.returncode, done.stderr.count(b"\n"), calm.left()) == (3, 1, [])
        assert f"{url}: SHA256SUMS: not found" in done.stderr.decode()


def test_a_listing_that_changes_before_a_stream_goes_on(
    calm: Rig, folder: Path, plain: Path
) -> None:
    replace_sums(with_hash(SHARD, OTHER))(folder)
    url = calm.hub.serve_folder("/pub/v3-like", folder)
    assert calm.inside("convert", url, "--stream").returncode == 1
    assert f"{OUT}.journal" in calm.left()
    (folder / "SHA256SUMS").unlink()
    calm.hub.serve_folder("/pub/v3-like", folder)
    done = calm.inside("convert", url, "--stream")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert (
        f"{url}: has changed since this was started (to start over: rm -r {OUT}.stream)"
        in done.stderr.decode()
    )
    shutil.rmtree(calm.out / f"{OUT}.stream")
    done = calm.inside("convert", url, "--stream")
    assert done.returncode == 0, done.stderr
    assert same(calm.out / OUT, plain, streamed=True)
    assert calm.left() == [OUT]


def test_a_listing_that_changes_between_whole_downloads(
    calm: Rig, folder: Path, small: Path, plain: Path
) -> None:
    shard = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(shard[:-4] + b"\0\0\0\0")
    url = calm.hub.serve_folder("/pub/v3-like", folder)
    assert calm.inside("convert", url).returncode == 0
    assert not same(calm.out / OUT, plain)
    (folder / SHARD).write_bytes(shard)
    calm.hub.serve_folder("/pub/v3-like", folder)
    done = calm.inside("convert", url, "--force")
    assert done.returncode == 0, done.stderr
    assert same(calm.out / OUT, plain)


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "9" * 30, "9" * 18])
def test_a_length_that_is_missing_or_invalid(calm: Rig, folder: Path, length: str) -> None:
    url = calm.hub.serve_folder("/pub/v3-like", folder)
    calm.hub.fault(
        SHARD, "status", times=None, method="HEAD", status=200, headers={"Content-Length": length}
    )
    for more in ((), ("--stream",)):
        done = calm.inside("convert", url, *more)
        assert (done.returncode, done.stderr.count(b"\n"), calm.left()) == (1, 1, []), done.stderr
        assert f"{url}: " in done.stderr.decode()


def test_a_streamed_model_measures_itself(calm: Rig, tmp_path: Path) -> None:
    """``--imatrix auto``: a Q8_0 is made of the stream, measured, and quantized."""
    nano = tmp_path / "nano-copy"
    shutil.copytree(catalog.load_registry()["nano"].folder, nano)
    (nano / "SHA256SUMS").write_text(sums_of(nano))
    url = calm.hub.serve_folder("/pub/nano-copy", nano)
    options = ("--quant", "IQ2_XXS", "--imatrix", "auto", "--stream", "-o", calm.out / "o.gguf")
    done = calm.inside("convert", f"{url}/", *options)
    assert done.returncode == 0, done.stderr
    assert calm.left() == ["o.gguf"]
    metadata = read_header(calm.out / "o.gguf").metadata
    assert metadata["dslocal.requantized_from"] == "Q8_0"
    assert metadata["quantize.imatrix.file"] == "o.auto-imatrix.gguf"
    assert {calm.hub.complete_fetches(shard) for shard in shards_of(nano)} == {1}
