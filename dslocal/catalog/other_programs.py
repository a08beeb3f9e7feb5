"""Models that Ollama and LM Studio have on this machine: how their folders are laid out.

These folders are only read, and nothing in them is trusted before it is checked.

Ollama: ``manifests/REGISTRY/NAMESPACE/MODEL/TAG`` (``manifests-v2/`` since 2026) is JSON whose
layer of type ``application/vnd.ollama.image.model`` has the digest of a GGUF file, which is
``blobs/sha256-DIGEST``. A manifest may also be a list of such manifests, one for each runner, given
in full or as blobs. LM Studio: ``PUBLISHER/REPOSITORY/FILE.gguf``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dslocal.files import is_file, is_folder, read_json_object
from dslocal.gguf.parts import is_first_part

App = Literal["Ollama", "LM Studio"]
# Where Linux packages and services keep Ollama's.
OLLAMA_SYSTEM_FOLDERS = (
    Path("/usr/share/ollama/.ollama/models"),
    Path("/var/lib/ollama/.ollama/models"),
    Path("/var/lib/ollama/models"),
    Path("/var/lib/ollama"),
)
MANIFEST_FOLDERS = ("manifests-v2", "manifests")
MODEL_LAYER = "application/vnd.ollama.image.model"
PUBLIC_REGISTRIES = ("registry.ollama.ai", "ollama.com")
LIBRARY = "library"  # the namespace that Ollama leaves out of names
LATEST = "latest"  # the tag that it leaves out
MAX_MANIFEST = 1 << 20  # bytes
MAX_LAYERS = 1000
MAX_RUNNERS = 16  # manifests of one list
MAX_LISTED = 2000  # entries of a folder
MAX_FOLDERS = 10_000  # of one program
MAX_MODELS = 2000  # of one folder
MAX_DEPTH = 3  # folders under LM Studio's: publisher, repository, and one more

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_HOST = re.compile(r"[\w][\w.:%-]{0,127}", re.ASCII)
_NAME_PART = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_NOT_HIDDEN = re.compile(r"[^.].*", re.DOTALL)


@dataclass(frozen=True)
class ModelFolder:
    """A folder in which ``app`` keeps models."""

    app: App
    path: Path


@dataclass(frozen=True)
class ForeignModel:
    """A model of another program.

    Attributes:
        app: The program.
        name: What it calls the model.
        path: The GGUF file, or the first of them.
    """

    app: App
    name: str
    path: Path

    @property
    def origin(self) -> str:
        """Where it is from, as the inventory keeps it."""
        return f"ollama:{self.name}" if self.app == "Ollama" else str(self.path)


def model_folders() -> list[ModelFolder]:
    """Return where to look, by the environment as it is now, whether it is there or not."""
    own = os.environ.get("OLLAMA_MODELS")
    candidates = [ModelFolder("Ollama", Path(own))] if own else []
    for path in (Path("~/.ollama/models"), *OLLAMA_SYSTEM_FOLDERS):
        candidates.append(ModelFolder("Ollama", path))
    for path in (Path("~/.lmstudio/models"), Path("~/.cache/lm-studio/models")):
        candidates.append(ModelFolder("LM Studio", path))
    found: dict[str, ModelFolder] = {}
    for folder in candidates:
        with suppress(RuntimeError):  # this user has no home
            path = folder.path.expanduser()
            found.setdefault(os.path.realpath(path), ModelFolder(folder.app, path))
    return list(found.values())


def find_models(folders: Sequence[ModelFolder]) -> list[ForeignModel]:
    """Return every model whose file is there, by program and name; skip what cannot be read."""
    found: dict[tuple[App, str], ForeignModel] = {}
    for folder in folders:
        scan = _Scan()
        if folder.app == "Ollama":
            models = scan.ollama_models(folder.path)
        else:
            models = scan.lm_studio_models(folder.path)
        for model in islice(models, MAX_MODELS):
            found.setdefault((model.app, model.name), model)
    return sorted(found.values(), key=lambda model: (model.app, model.name))


def match_models(name: str, folders: Sequence[ModelFolder]) -> list[ForeignModel]:
    """Return the models that ``name`` means.

    Args:
        name: Ollama's name, with or without ``ollama:`` before it or ``:latest`` behind it; or LM
            Studio's ``PUBLISHER/REPOSITORY``, or one file of that.
        folders: Where to look.
    """
    name = name.lower()
    if name.startswith("ollama:"):
        name = name.removeprefix("ollama:")
        folders = [folder for folder in folders if folder.app == "Ollama"]
    models = find_models(folders)
    has_tag = ":" in name.rsplit("/", 1)[-1]
    tagged = name if has_tag else f"{name}:{LATEST}"
    exact = [m for m in models if m.app == "Ollama" and m.name.lower() in (name, tagged)]
    if exact:
        return exact
    found = []
    for model in models:
        repository = "/".join(model.name.lower().split("/")[:2])
        if model.app == "LM Studio" and name in (model.name.lower(), repository):
            found.append(model)
    return found


def ollama_model_of(blob: Path) -> ForeignModel | None:
    """Return the model of Ollama's whose file is ``blob``, if a manifest still names it.

    It is looked for beside the folder ``blobs`` in which the file lies.
    """
    if blob.parent.name != "blobs" or not _DIGEST.fullmatch(blob.name):
        return None
    for model in _Scan().ollama_models(blob.parent.parent):
        if model.path.name == blob.name:
            return model
    return None


def gguf_models_in(folder: Path) -> list[Path]:
    """Return the GGUF models in ``folder`` itself, each by its only or first file.

    Image projectors are left out.
    """
    return _models_in(folder, _Scan().names(folder))


class _Scan:
    """Looks into a limited number of folders, and sees nothing in what cannot be read."""

    def __init__(self) -> None:
        self._folders_left = MAX_FOLDERS

    def names(self, folder: Path) -> list[str]:
        """Return the names in ``folder``, sorted."""
        self._folders_left -= 1
        if self._folders_left < 0:
            return []
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in islice(entries, MAX_LISTED))
        except OSError:
            return []

    def folders(self, folder: Path, pattern: re.Pattern[str]) -> list[Path]:
        """Return the folders in ``folder`` whose names match, links to folders among them."""
        found = []
        for name in self.names(folder):
            if pattern.fullmatch(name) and is_folder(folder / name):
                found.append(folder / name)
        return found

    def ollama_models(self, root: Path) -> Iterator[ForeignModel]:
        """Yield the models that Ollama keeps in ``root``."""
        for model in self._ollama_model_folders(root):
            host, namespace = model.parent.parent.name, model.parent.name
            for tag in filter(_NAME_PART.fullmatch, self.names(model)):
                blob = _blob_of(root / "blobs", _read_manifest(model / tag))
                if blob is not None:
                    name = _ollama_name(host, namespace, model.name, tag)
                    yield ForeignModel("Ollama", name, blob)

    def _ollama_model_folders(self, root: Path) -> Iterator[Path]:
        for manifests in MANIFEST_FOLDERS:
            for host in self.folders(root / manifests, _HOST):
                for namespace in self.folders(host, _NAME_PART):
                    yield from self.folders(namespace, _NAME_PART)

    def lm_studio_models(
        self, folder: Path, above: str = "", depth: int = 0
    ) -> Iterator[ForeignModel]:
        """Yield the models that LM Studio keeps in ``folder``, which it calls ``above``."""
        if above:
            for file in _models_in(folder, self.names(folder)):
                yield ForeignModel("LM Studio", above + file.name, file)
        if depth < MAX_DEPTH:
            for inner in self.folders(folder, _NOT_HIDDEN):
                yield from self.lm_studio_models(inner, f"{above}{inner.name}/", depth + 1)


def _ollama_name(host: str, namespace: str, model: str, tag: str) -> str:
    """Return a model's name as ``ollama list`` prints it."""
    if host.lower() not in PUBLIC_REGISTRIES:
        return f"{host}/{namespace}/{model}:{tag}"
    if namespace != LIBRARY:
        return f"{namespace}/{model}:{tag}"
    return f"{model}:{tag}"


def _blob_of(blobs: Path, manifest: dict[str, Any]) -> Path | None:
    """Return the GGUF file that a manifest, or the first usable one of a list, names."""
    runners = manifest.get("manifests")
    if not isinstance(runners, list):
        return _model_layer(blobs, manifest)
    for runner in runners[:MAX_RUNNERS]:
        found = _model_layer(blobs, _runner_manifest(blobs, runner))
        if found is not None:
            return found
    return None


def _runner_manifest(blobs: Path, runner: object) -> dict[str, Any]:
    """Return the manifest that an entry of a list is, or whose blob it names."""
    if not isinstance(runner, dict):
        return {}
    if "layers" in runner:
        return runner
    file = _blob_file(blobs, runner.get("digest"))
    return _read_manifest(file) if file else {}


def _model_layer(blobs: Path, manifest: dict[str, Any]) -> Path | None:
    """Return the file of the one layer with weights, if it is there and inside ``blobs``."""
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        return None
    digests = []
    for layer in layers[:MAX_LAYERS]:
        if isinstance(layer, dict) and layer.get("mediaType") == MODEL_LAYER:
            digests.append(layer.get("digest"))
    return _blob_file(blobs, digests[0]) if len(digests) == 1 else None


def _blob_file(blobs: Path, digest: object) -> Path | None:
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        return None
    file = blobs / f"sha256-{match[1].lower()}"
    return file if is_file(file) else None


def _models_in(folder: Path, names: Iterable[str]) -> list[Path]:
    found = []
    for name in names:
        is_model = name.endswith(".gguf") and "mmproj" not in name.lower() and is_first_part(name)
        if is_model and _NOT_HIDDEN.fullmatch(name) and is_file(folder / name):
            found.append(folder / name)
    return found


def _read_manifest(file: Path) -> dict[str, Any]:
    """Return a manifest; an empty one where it cannot be read."""
    try:
        return read_json_object(file, max_bytes=MAX_MANIFEST) if is_file(file) else {}
    except (OSError, ValueError):
        return {}
