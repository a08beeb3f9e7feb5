"""Folders laid out as by Ollama, LM Studio and huggingface_hub, and GGUF files with a changed
header.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

MODEL = "application/vnd.ollama.image.model"
FILE_TYPE = b"general.file_type" + struct.pack("<II", 4, 7)  # of a Q8_0


def changed(source: Path, target: Path, *changes: tuple[bytes, bytes]) -> Path:
    """Copy ``source``, with bytes replaced by as many others."""
    data = source.read_bytes()
    for old, new in changes:
        assert len(old) == len(new)
        assert old in data
        data = data.replace(old, new)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def blob(root: Path, source: Path) -> str:
    """Link ``source`` into Ollama's blobs and return its digest."""
    digest = hashlib.sha256(str(source).encode()).hexdigest()
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    file = root / "blobs" / f"sha256-{digest}"
    if not file.exists():
        file.symlink_to(source)
    return f"sha256:{digest}"


def manifest(root: Path, name: str, content: Any, folder: str = "manifests") -> Path:
    """Write a manifest; ``name`` is REGISTRY/NAMESPACE/MODEL/TAG, ``content`` becomes JSON unless
    it is text.
    """
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def layers(*digests: object) -> dict[str, Any]:
    """Return a manifest as Ollama writes it, with the digests of models."""
    small = {
        "mediaType": "application/vnd.ollama.image.license",
        "digest": "sha256:" + "0" * 64,
        "size": 10,
    }
    models = [{"mediaType": MODEL, "digest": digest, "size": 5} for digest in digests]
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "layers": [*models, small],
    }


def snapshot(cache: Path, repository: str, commit: str, files: dict[str, bytes]) -> dict[str, Path]:
    """Write a revision into Hugging Face's cache and return the links by file name. Equal files
    share a blob.
    """
    root = cache / f"models--{repository.replace('/', '--')}"
    links = {}
    for name, data in files.items():
        held = root / "blobs" / hashlib.sha256(data).hexdigest()
        held.parent.mkdir(parents=True, exist_ok=True)
        held.write_bytes(data)
        link = links[name] = root / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("../" * (1 + len(Path(name).parts)) + f"blobs/{held.name}")
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return links
