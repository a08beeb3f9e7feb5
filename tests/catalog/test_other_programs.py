"""Find the models of Ollama and LM Studio; nothing in their folders leads elsewhere or hangs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.catalog.other_programs import blob, layers, manifest

from dslocal.catalog import other_programs
from dslocal.catalog.other_programs import (
    ModelFolder,
    find_models,
    gguf_models_in,
    match_models,
    ollama_model_of,
)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A file; what is in it is looked at elsewhere."""
    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF")
    return file


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    """Where Ollama's models are; the folder is not there yet."""
    return tmp_path / "ollama"


def names(root: Path) -> list[str]:
    """Return the names of Ollama's models in a folder."""
    return [model.name for model in find_models([ModelFolder("Ollama", root)])]


def test_roots_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    own = [
        root.path for root in other_programs.model_folders() if root.path.is_relative_to(tmp_path)
    ]
    assert own == [
        tmp_path / ".ollama/models",
        tmp_path / ".lmstudio/models",
        tmp_path / ".cache/lm-studio/models",
    ]
    assert (
        ModelFolder("Ollama", Path("/usr/share/ollama/.ollama/models"))
        in other_programs.model_folders()
    )
    monkeypatch.setenv("OLLAMA_MODELS", "~/big disk")
    assert other_programs.model_folders()[0] == ModelFolder("Ollama", tmp_path / "big disk")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / ".ollama" / "models"))
    assert len(
        [root for root in other_programs.model_folders() if root.app == "Ollama"]
    ) == 1 + len(other_programs.OLLAMA_SYSTEM_FOLDERS)


NAMES = [
    ("registry.ollama.ai/library/deepseek-r1/7b", "deepseek-r1:7b"),
    ("registry.ollama.ai/library/deepseek-r1/latest", "deepseek-r1:latest"),
    ("registry.ollama.ai/someone/r1/8b-q4_K_M", "someone/r1:8b-q4_K_M"),
    ("hf.co/unsloth/DeepSeek-R1-GGUF/Q4_K_M", "hf.co/unsloth/DeepSeek-R1-GGUF:Q4_K_M"),
    ("localhost:5000/library/r1/1", "localhost:5000/library/r1:1"),
    ("registry.ollama.ai/library/.hidden/7b", None),
    ("registry.ollama.ai/library/r1/.manifest-tmp", None),
    ("registry.ollama.ai/library/r\x1b[31m/7b", None),
    ("registry.ollama.ai/library/r1/7b\n", None),
    ("registry.ollama.ai/library/r1", None),
]


@pytest.mark.parametrize(("path", "name"), NAMES, ids=repr)
def test_ollama_names(ollama: Path, gguf: Path, path: str, name: str | None) -> None:
    digest = blob(ollama, gguf)
    manifest(ollama, path, layers(digest))
    found = find_models([ModelFolder("Ollama", ollama)])
    assert [model.name for model in found] == ([name] if name else [])
    for model in found:
        assert model.path == ollama / "blobs" / digest.replace(":", "-")
        assert model.origin == f"ollama:{name}"
        assert ollama_model_of(model.path) == model


def test_ollama_of_2026(ollama: Path, gguf: Path) -> None:
    """Manifests are blobs to which names link, and may be lists with one for each runner."""
    digest = blob(ollama, gguf)
    child = manifest(ollama, "sha256-" + "c" * 64, layers(digest), "blobs")
    safetensors = {
        "layers": [{"mediaType": "application/vnd.ollama.image.tensor; name=x", "digest": digest}]
    }
    for tag, children in (
        ("inline", [layers(digest)]),
        ("linked", [{"digest": "sha256:" + "c" * 64}]),
        ("second", [safetensors, layers(digest)]),
    ):
        manifest(ollama, f"ollama.com/library/r1/{tag}", {"manifests": children}, "manifests-v2")
    (ollama / "manifests-v2/ollama.com/library/r1/link").symlink_to(child)
    manifest(ollama, "ollama.com/library/r1/mlx", {"manifests": [safetensors]}, "manifests-v2")
    manifest(
        ollama, "registry.ollama.ai/library/r1/inline", layers("sha256:" + "e" * 64)
    )  # what the newer form says goes before
    assert names(ollama) == ["r1:inline", "r1:link", "r1:linked", "r1:second"]


HEX = "a" * 64
HOSTILE: list[tuple[str, Any]] = [
    ("climbs", layers("sha256:../../../etc/passwd")),
    ("climbs with 64", layers("sha256:" + "../" * 21 + "x")),
    ("absolute", layers("/etc/passwd")),
    ("short", layers("sha256:" + "a" * 63)),
    ("another hash", layers("sha512:" + HEX)),
    ("a newline", layers(f"sha256:{HEX}\n")),
    ("no such blob", layers(f"sha256:{'b' * 64}")),
    ("a folder for a blob", layers(f"sha256:{'d' * 64}")),
    ("a pipe for a blob", layers(f"sha256:{'f' * 64}")),
    ("a number", layers(7)),
    ("none", layers()),
    ("two models", layers(f"sha256:{HEX}", f"sha256:{HEX}")),
    ("layers are not a list", {"layers": {"0": 1}}),
    ("layers of other things", {"layers": [1, None, "x", [], {}]}),
    ("a list in a list", {"manifests": [{"manifests": [layers(f"sha256:{HEX}")]}]}),
    ("itself", {"manifests": [{"digest": "sha256:" + "9" * 64}]}),
    ("no JSON", "{"),
    ("empty", ""),
    ("a list", "[]"),
    ("deep", "[" * 100_000),
    ("huge", '{"layers": [' + " " * (2 << 20) + "]}"),
]


@pytest.mark.parametrize(
    "content", [content for _, content in HOSTILE], ids=[what for what, _ in HOSTILE]
)
def test_hostile_manifests(ollama: Path, gguf: Path, content: Any) -> None:
    (ollama / "blobs" / f"sha256-{'d' * 64}").mkdir(parents=True)
    os.mkfifo(ollama / "blobs" / f"sha256-{'f' * 64}")
    (ollama / "blobs" / f"sha256-{HEX}").symlink_to(gguf)
    manifest(ollama, f"sha256-{'9' * 64}", content, "blobs")
    manifest(ollama, "registry.ollama.ai/library/bad/1", content)
    manifest(ollama, "registry.ollama.ai/library/good/1", layers(f"sha256:{HEX}"))
    assert names(ollama) == ["good:1"]


def test_folders_that_cannot_be_read(tmp_path: Path, ollama: Path, gguf: Path) -> None:
    assert names(tmp_path / "nothing") == []
    (tmp_path / "file").touch()
    assert names(tmp_path / "file") == []
    manifest(ollama, "registry.ollama.ai/library/good/1", layers(blob(ollama, gguf)))
    (ollama / "manifests" / "loop").symlink_to(ollama / "manifests")
    (ollama / "manifests" / "file").touch()
    os.mkfifo(ollama / "manifests/registry.ollama.ai/library/good/pipe")
    assert names(ollama) == ["good:1"]


def test_so_many_folders_and_no_more(
    ollama: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(20):
        manifest(ollama, f"registry.ollama.ai/library/m{i:02}/1", layers(blob(ollama, gguf)))
    assert len(names(ollama)) == 20
    monkeypatch.setattr(other_programs, "MAX_FOLDERS", 8)
    assert 0 < len(names(ollama)) < 8


def test_lm_studio(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in (
        "org/R1-GGUF/R1-Q4_K_M.gguf",
        "org/R1-GGUF/R1-Q8_0-00001-of-00002.gguf",
        "org/R1-GGUF/R1-Q8_0-00002-of-00002.gguf",
        "org/R1-GGUF/mmproj-F16.gguf",
        "org/R1-GGUF/README.md",
        "org/R1-GGUF/.hidden.gguf",
        "org/R1-GGUF/deep/Q2.gguf",
        "loose.gguf",
        "org/R1-GGUF/deep/too/deep.gguf",
        ".git/x/y.gguf",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "org/R1-GGUF/folder.gguf").mkdir()
    (root / "org/loop").symlink_to(root)
    found = find_models([ModelFolder("LM Studio", root)])
    inside = [model.name for model in found if "loop" not in model.name]
    assert inside == [
        "org/R1-GGUF/R1-Q4_K_M.gguf",
        "org/R1-GGUF/R1-Q8_0-00001-of-00002.gguf",
        "org/R1-GGUF/deep/Q2.gguf",
    ]
    assert found[0].origin == str(root / "org/R1-GGUF/R1-Q4_K_M.gguf")
    assert [file.name for file in gguf_models_in(root / "org/R1-GGUF")] == [
        "R1-Q4_K_M.gguf",
        "R1-Q8_0-00001-of-00002.gguf",
    ]


MEANT = [
    ("deepseek-r1:7b", ["deepseek-r1:7b"]),
    ("DeepSeek-R1:7B", ["deepseek-r1:7b"]),
    ("ollama:deepseek-r1:7b", ["deepseek-r1:7b"]),
    ("Ollama:v3", ["v3:latest"]),
    ("v3", ["v3:latest"]),
    ("v3:latest", ["v3:latest"]),
    ("deepseek-r1", []),
    ("org/repo", ["org/repo/a.gguf", "org/repo/b.gguf"]),
    ("ORG/Repo/b.GGUF", ["org/repo/b.gguf"]),
    ("ollama:org/repo", []),
    ("org", []),
    ("", []),
    ("../../etc", []),
]


@pytest.mark.parametrize(("text", "expected"), MEANT)
def test_what_a_name_means(
    tmp_path: Path, ollama: Path, gguf: Path, text: str, expected: list[str]
) -> None:
    manifest(ollama, "registry.ollama.ai/library/deepseek-r1/7b", layers(blob(ollama, gguf)))
    manifest(ollama, "registry.ollama.ai/library/v3/latest", layers(blob(ollama, gguf)))
    (tmp_path / "studio/org/repo").mkdir(parents=True)
    for name in "ab":
        (tmp_path / f"studio/org/repo/{name}.gguf").touch()
    assert [
        model.name
        for model in match_models(
            text, [ModelFolder("Ollama", ollama), ModelFolder("LM Studio", tmp_path / "studio")]
        )
    ] == expected
