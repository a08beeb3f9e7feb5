"""Delete a model's own files: never another's, never outside the folder of a download."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir
from support.catalog.other_programs import snapshot

from dslocal import catalog
from dslocal.catalog.inventory import Provenance
from dslocal.catalog.leftovers import delete_leftover, find_leftovers, is_in_use
from dslocal.catalog.removal import plan_removal, remove_model
from dslocal.errors import DslocalError

ONE, TWO = "1" * 40, "2" * 40
A, B = b"GGUF" + b"a" * 100, b"GGUF" + b"b" * 1000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where dslocal keeps its own files."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "home"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where Hugging Face's cache is."""
    return tmp_path / "hub"


def kept(*files: Path, how: Provenance = "downloaded", name: str = "r1") -> catalog.InstalledModel:
    """Add a model with these files to the inventory, and return it."""
    entry = catalog.InstalledModel(
        name, "Q4_K_M", files[0], files, 10, how, f"hf:org/r1@{ONE}", 1.0
    )
    catalog.add_installed(entry)
    return entry


def everything(folder: Path) -> set[str]:
    """Files and links below ``folder``, by path."""
    return {
        str(Path(above, name).relative_to(folder))
        for above, folders, names in os.walk(folder)
        for name in [*names, *folders]
    }


def test_a_whole_download(cache: Path) -> None:
    links = snapshot(cache, "org/r1", ONE, {"a.gguf": A, "Q8/b.gguf": B})
    entry = kept(*links.values())
    planned = plan_removal(entry)
    assert (planned.goes, planned.stays, planned.nbytes) == (entry.files, (), len(A) + len(B))
    assert links["a.gguf"].read_bytes() == A  # nothing has happened yet
    assert remove_model(entry) == planned
    assert everything(cache) == set()
    assert catalog.installed_models() == []


def test_other_files_of_the_snapshot_stay(cache: Path) -> None:
    links = snapshot(cache, "org/r1", ONE, {"a.gguf": A, "config.json": b"{}", "same.json": b"{}"})
    remove_model(kept(links["a.gguf"]))
    assert not os.path.lexists(links["a.gguf"])
    assert links["config.json"].read_bytes() == b"{}"
    assert (cache / "models--org--r1/refs/main").read_text() == ONE
    assert [info.size_on_disk for info in scan_cache_dir(cache).repos] == [2]
    assert scan_cache_dir(cache).warnings == []


def test_a_blob_that_another_revision_uses_stays(cache: Path) -> None:
    first = snapshot(cache, "org/r1", ONE, {"a.gguf": A, "b.gguf": B})
    second = snapshot(cache, "org/r1", TWO, {"deep/renamed.gguf": A})
    assert remove_model(kept(*first.values())).nbytes == len(B)
    assert second["deep/renamed.gguf"].read_bytes() == A
    assert sorted(path.name for path in (cache / "models--org--r1/snapshots").iterdir()) == [TWO]
    assert (cache / "models--org--r1/refs/main").exists()
    assert len(list((cache / "models--org--r1/blobs").iterdir())) == 1
    assert scan_cache_dir(cache).warnings == []


def test_the_name_of_a_revision_of_which_nothing_is_left_goes(cache: Path) -> None:
    snapshot(cache, "org/r1", TWO, {"b.gguf": B})
    first = snapshot(cache, "org/r1", ONE, {"a.gguf": A})  # main is this one
    remove_model(kept(*first.values()))
    assert everything(cache / "models--org--r1/refs") == set()
    assert scan_cache_dir(cache).warnings == []


XET_HASH = "f" * 64


def share(cache: Path, *links: Path) -> Path:
    """Move the content of ``links`` into the store of all repositories, as huggingface_hub does."""
    stored = cache / "blobs" / XET_HASH[:2] / XET_HASH
    stored.parent.mkdir(parents=True, exist_ok=True)
    (cache / "blobs/.huggingface-shared-blobs").write_text("1\n")
    for link in links:
        blob = Path(os.path.normpath(link.parent / link.readlink()))
        with stored.with_name(f"{XET_HASH}.refs").open("a") as references:
            references.write(f"{blob.relative_to(cache)}\n")
        blob.replace(stored)
        blob.symlink_to(os.path.relpath(stored, blob.parent))
    return stored


@pytest.fixture
def two(cache: Path) -> list[Path]:
    """The same file in two repositories."""
    owners = ("org", "other")
    return [snapshot(cache, f"{owner}/r1", ONE, {"a.gguf": A})["a.gguf"] for owner in owners]


def test_the_store_is_laid_out_as_huggingface_hub_does(cache: Path, two: list[Path]) -> None:
    shared_blobs = pytest.importorskip("huggingface_hub.utils._shared_blobs")
    stored = share(cache, *two)
    blob = Path(os.path.normpath(two[0].parent / two[0].readlink()))
    assert shared_blobs.is_shared_blobs_dir(cache / "blobs")
    assert shared_blobs.shared_blob_target(blob, cache) == stored
    assert not shared_blobs.unreferenced_shared_blobs(cache)


def test_the_store_that_all_repositories_share(cache: Path, two: list[Path]) -> None:
    """A blob is a link into it; what nobody links to any more goes, and not before."""
    stored = share(cache, *two)
    assert remove_model(kept(two[0])).nbytes == 0
    assert two[1].read_bytes() == A
    assert not (cache / "models--org--r1").exists()
    assert remove_model(kept(two[1], name="other")).nbytes == len(A)
    assert not stored.exists()


@pytest.mark.parametrize(
    ("manifest", "nbytes", "stays"),
    [
        ("models--org--r1/blobs/{etag}\n", len(A), False),
        (
            "models--gone--r1/blobs/{etag}\n\n../x/blobs/y\nmodels--org--r1/blobs/{etag}\n",
            len(A),
            False,
        ),
        ("models--gone--r1/blobs/{etag}\n", 0, False),
        (None, 0, True),
        ("\udc80", 0, True),
    ],
    ids=["listed", "with lines that lead nowhere", "not listed", "no list", "unreadable"],
)
def test_what_the_list_of_a_shared_file_says(
    cache: Path, manifest: str | None, nbytes: int, stays: bool
) -> None:
    link = snapshot(cache, "org/r1", ONE, {"a.gguf": A})["a.gguf"]
    stored = share(cache, link)
    listed = stored.with_name(f"{XET_HASH}.refs")
    if manifest is None:
        listed.unlink()
    else:
        text = manifest.format(etag=link.readlink().name)
        listed.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert remove_model(kept(link)).nbytes == nbytes
    assert stored.exists() is stays


def test_a_store_without_its_marker_is_left_alone(cache: Path) -> None:
    link = snapshot(cache, "org/r1", ONE, {"a.gguf": A})["a.gguf"]
    stored = share(cache, link)
    (cache / "blobs/.huggingface-shared-blobs").unlink()
    remove_model(kept(link))
    assert stored.read_bytes() == A


def test_a_cache_without_links(cache: Path) -> None:
    file = cache / "models--org--r1/snapshots" / ONE / "a.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(A)
    assert remove_model(kept(file)).nbytes == len(A)
    assert not file.exists()


def test_links_that_lead_elsewhere_delete_nothing_there(cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.gguf").write_bytes(A)
    links = snapshot(cache, "org/r1", ONE, {"a.gguf": B, "b.gguf": A, "c.gguf": A + A})
    repository = cache / "models--org--r1"
    for name, target in (
        ("a.gguf", outside / "thesis.gguf"),
        ("b.gguf", "../../blobs/../../../outside/thesis.gguf"),
    ):
        links[name].unlink()
        links[name].symlink_to(target)
    held = repository / "blobs" / Path(links["c.gguf"].readlink()).name
    held.unlink()
    held.symlink_to(outside / "thesis.gguf")  # a blob that is a link, and not into the shared store
    assert remove_model(kept(*links.values())).nbytes == 0
    assert everything(outside) == {"thesis.gguf"}
    assert (outside / "thesis.gguf").read_bytes() == A
    assert not any(map(os.path.lexists, links.values()))


@pytest.mark.parametrize("part", [".", "snapshots", f"snapshots/{ONE}", "blobs"])
def test_folders_that_are_links_are_left_alone(cache: Path, tmp_path: Path, part: str) -> None:
    links = snapshot(cache, "org/r1", ONE, {"a.gguf": A})
    entry = kept(links["a.gguf"])
    folder = cache / "models--org--r1" / part
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path / "elsewhere")
    for act in (plan_removal, remove_model):
        with pytest.raises(DslocalError, match="is left alone"):
            act(entry)
    assert everything(tmp_path / "elsewhere") == before
    assert catalog.installed_models() == [entry]


@pytest.mark.parametrize(
    "path",
    [
        "models--org--r1/a.gguf",
        "models--org--r1/snapshots/main/a.gguf",
        f"org/snapshots/{ONE}/a.gguf",
        "thesis.gguf",
    ],
)
def test_a_download_outside_any_cache_stays(cache: Path, path: str) -> None:
    file = cache / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(A)
    removal = remove_model(kept(file))
    assert (removal.goes, removal.stays, removal.nbytes) == ((), (file,), 0)
    assert file.exists()
    assert catalog.installed_models() == []


OWN: list[tuple[Provenance, str, bytes, bool]] = [
    ("converted", "r1.gguf", A, True),
    ("converted", "thesis.odt", A, False),
    ("converted", "thesis.gguf", b"PK..", False),
    ("converted", "empty.gguf", b"", False),
    ("imported", "r1.gguf", A, False),
    ("downloaded", "home/cache/checkpoints/0123/r1.gguf", A, True),
]


@pytest.mark.parametrize(("how", "name", "content", "goes"), OWN)
def test_whose_files_go(
    tmp_path: Path, how: Provenance, name: str, content: bytes, goes: bool
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    removal = remove_model(kept(file, how=how))
    assert (file.exists(), bool(removal.goes), bool(removal.stays), bool(removal.why)) == (
        not goes,
        goes,
        not goes,
        not goes,
    )
    assert removal.nbytes == (len(A) if goes else 0)
    assert catalog.installed_models() == []


def test_a_link_in_place_of_a_converted_file_stays(tmp_path: Path) -> None:
    (tmp_path / "big disk.gguf").write_bytes(A)
    link = tmp_path / "r1.gguf"
    link.symlink_to(tmp_path / "big disk.gguf")
    assert remove_model(kept(link, how="converted")).stays == (link,)
    assert link.read_bytes() == A


def test_a_file_with_two_names_goes_with_the_last(tmp_path: Path) -> None:
    file, link = tmp_path / "r1.gguf", tmp_path / "link.gguf"
    file.write_bytes(A)
    link.symlink_to(file)
    first, second = kept(file, how="converted"), kept(link, how="imported", name="other")
    assert "other:Q4_K_M" in remove_model(first).why
    assert file.exists()
    remove_model(second)
    assert remove_model(kept(file, how="converted")).goes == (file,)


def test_what_is_gone_already(tmp_path: Path, cache: Path) -> None:
    kept(tmp_path / "r1.gguf", how="converted")
    kept(cache / "models--o--r/snapshots" / ONE / "a.gguf", name="v3")
    assert [remove_model(entry).nbytes for entry in catalog.installed_models()] == [0, 0]
    assert catalog.installed_models() == []


def test_what_another_process_has_kept_again_stays(tmp_path: Path) -> None:
    file = tmp_path / "r1.gguf"
    file.write_bytes(A)
    entry = kept(file, how="converted")
    newer = replace(entry, added=2.0)
    catalog.add_installed(newer)
    assert remove_model(entry).goes == ()
    assert file.exists()
    assert catalog.installed_models() == [newer]


def leave(folder: Path, *names: str, nbytes: int = 4096) -> list[Path]:
    """Write files that a run may have left behind, and return them."""
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * nbytes)
    return files


def test_leftovers(home: Path, cache: Path, tmp_path: Path) -> None:
    left = leave(
        home / "cache",
        "converted/a.gguf.part",
        "converted/a.gguf.journal",
        "checkpoints/0/1/b.safetensors.partial",
        "c.damaged",
    )
    leave(home / "cache", "d.stream/one.safetensors", "d.stream/lock")
    left += [
        home / "cache/d.stream",
        *leave(cache, "models--o--r/blobs/abc.partial", "models--o--r/blobs/abc.damaged"),
    ]
    leave(home / "cache", "converted/a.gguf", "notes.txt", "partial")
    leave(cache, "models--o--r/blobs/abc", "models--o--r/blobs/abc.incomplete", "other/x.partial")
    (home / "cache/link.part").symlink_to(tmp_path)
    (home / "cache/link.stream").symlink_to(tmp_path)
    found = find_leftovers()
    assert [one.path for one in found] == sorted(left)
    assert {one.path.name: one.nbytes for one in found}["d.stream"] == 8192
    assert all(delete_leftover(one) for one in found)
    assert find_leftovers() == []
    assert tmp_path.exists()
    assert everything(cache) >= {
        "models--o--r/blobs/abc",
        "models--o--r/blobs/abc.incomplete",
        "other/x.partial",
    }


def test_a_file_of_full_length_that_is_hardly_written_counts_as_little(home: Path) -> None:
    (file,) = leave(home / "cache", "a.part")
    os.truncate(file, 1 << 30)
    assert find_leftovers()[0].nbytes < 1 << 20


LOCKS = [
    ("x/a.gguf.part", "x/a.gguf.part", True),
    ("x/a.gguf.journal", "x/a.gguf.part", True),
    ("x/a.gguf.journal", "x/.a.gguf.lock", True),
    ("x/a.stream", "x/a.stream/lock", True),
    ("x/a.gguf.part", "x/a.gguf.stream/lock", True),
    ("x/a.part", "x/b.part", False),
    ("checkpoints/0123456789ab/c/d/a.partial", "locks/https-0123456789ab.lock", True),
    ("checkpoints/0123456789ab/c/d/a.partial", "locks/https-ba9876543210.lock", False),
    ("../../hub/models--org--r1/blobs/a.partial", "locks/hf%3Aorg%2Fr1-0123456789ab.lock", True),
    ("../../hub/models--org--r1/blobs/a.partial", "locks/hf%3Aorg%2Fv3-0123456789ab.lock", False),
]


@pytest.mark.parametrize(("name", "lock", "used"), LOCKS, ids=str)
def test_what_a_process_is_writing_stays(home: Path, name: str, lock: str, used: bool) -> None:
    leave(home / "cache", lock)
    leave(home / "cache", f"{name}/data" if name.endswith(".stream") else name)
    with (home / "cache" / lock).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = {Path(os.path.relpath(one.path, home / "cache")): one for one in find_leftovers()}[
            Path(name)
        ]
        assert is_in_use(found) is used
        assert delete_leftover(found) is not used
        assert found.path.exists() is used
    if used:
        assert not is_in_use(found)
        assert delete_leftover(found)
