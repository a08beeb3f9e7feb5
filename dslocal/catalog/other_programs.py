"""Models that Ollama and LM Studio have on this machine: how their folders are laid out. Read only,
and hostile until checked.

Ollama: ``manifests/REGISTRY/NAMESPACE/MODEL/TAG`` (``manifests-v2/`` since 2026) is JSON whose
layer of type ``application/vnd.ollama.image.model`` has the digest of a GGUF file, which is
``blobs/sha256-DIGEST``; a manifest may also be a list of such, one for each runner, given or as
blobs. LM Studio: ``PUBLISHER/REPOSITORY/FILE.gguf``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dslocal.files import is_file
from dslocal.gguf.parts import is_first_part

App = Literal["Ollama", "LM Studio"]
SYSTEM = tuple(  # where Linux packages and services keep Ollama's
    map(
        Path,
        (
            "/usr/share/ollama/.ollama/models",
            "/var/lib/ollama/.ollama/models",
            "/var/lib/ollama/models",
            "/var/lib/ollama",
        ),
    )
)
MANIFESTS = ("manifests-v2", "manifests")
MODEL_LAYER = "application/vnd.ollama.image.model"
PUBLIC, LIBRARY, LATEST = ("registry.ollama.ai", "ollama.com"), "library", "latest"
MAX_MANIFEST, MAX_LISTED, MAX_FOLDERS, MAX_MODELS = 1 << 20, 2000, 10_000, 2000
DEEPEST = 3  # folders under LM Studio's: publisher, repository, and one more

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_HOST = re.compile(r"[\w][\w.:%-]{0,127}", re.ASCII)
_PART = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_SEEN = re.compile(r"[^.].*", re.DOTALL)


@dataclass(frozen=True)
class ModelFolder:
    """A folder in which ``app`` keeps models."""

    app: App
    path: Path


@dataclass(frozen=True)
class ForeignModel:
    """A model of another program. ``name`` is what that program calls it, ``path`` its GGUF file,
    or the first of them.
    """

    app: App
    name: str
    path: Path

    @property
    def origin(self) -> str:
        return f"ollama:{self.name}" if self.app == "Ollama" else str(self.path)


def model_folders() -> list[ModelFolder]:
    """Where to look, by the environment as it is now; none twice, whether they are there or not."""
    own = os.environ.get("OLLAMA_MODELS")
    ollama = [*([Path(own)] if own else []), Path("~/.ollama/models"), *SYSTEM]
    studio = [Path("~/.lmstudio/models"), Path("~/.cache/lm-studio/models")]
    found: dict[str, ModelFolder] = {}
    both: dict[App, list[Path]] = {"Ollama": ollama, "LM Studio": studio}
    for app, paths in both.items():
        for path in paths:
            with suppress(RuntimeError):  # nobody's home
                found.setdefault(
                    os.path.realpath(path.expanduser()), ModelFolder(app, path.expanduser())
                )
    return list(found.values())


def find_models(where: Sequence[ModelFolder]) -> list[ForeignModel]:
    """Every model with a file that is there, by program and name; what cannot be read is passed
    over.
    """
    found: dict[tuple[App, str], ForeignModel] = {}
    for root in where:
        for model in islice(
            _Scan().ollama(root.path) if root.app == "Ollama" else _Scan().studio(root.path),
            MAX_MODELS,
        ):
            found.setdefault((model.app, model.name), model)
    return sorted(found.values(), key=lambda model: (model.app, model.name))


def match_models(name: str, where: Sequence[ModelFolder]) -> list[ForeignModel]:
    """The models that ``name`` means: Ollama's, with or without ``ollama:`` before it or
    ``:latest`` behind it; of LM Studio's ``PUBLISHER/REPOSITORY``, or one file of that.
    """
    only_ollama, name = (
        name.lower().startswith("ollama:"),
        re.sub("^ollama:", "", name, flags=re.IGNORECASE).lower(),
    )
    models = find_models([root for root in where if root.app == "Ollama" or not only_ollama])
    spellings = {name, name if ":" in name.rsplit("/", 1)[-1] else f"{name}:{LATEST}"}
    if exact := [
        model for model in models if model.app == "Ollama" and model.name.lower() in spellings
    ]:
        return exact
    return [
        model
        for model in models
        if model.app == "LM Studio"
        and name in (model.name.lower(), "/".join(model.name.lower().split("/")[:2]))
    ]


def ollama_model_of(blob: Path) -> ForeignModel | None:
    """The model of Ollama's whose file is ``blob``, which lies in a folder ``blobs`` of Ollama's,
    if a manifest still names it.
    """
    if blob.parent.name != "blobs" or not _DIGEST.fullmatch(blob.name):
        return None
    return next(
        (model for model in _Scan().ollama(blob.parent.parent) if model.path.name == blob.name),
        None,
    )


def gguf_models_in(folder: Path) -> list[Path]:
    """The GGUF models in ``folder`` itself, without the parts that follow a first one, and without
    image projectors.
    """
    return _models_in(folder, _Scan().names(folder))


class _Scan:
    """Looks into folders, so many at most, and sees nothing in what cannot be read."""

    def __init__(self) -> None:
        self._left = MAX_FOLDERS

    def names(self, folder: Path) -> list[str]:
        self._left -= 1
        try:
            with os.scandir(folder) as entries:
                return (
                    sorted(entry.name for entry in islice(entries, MAX_LISTED))
                    if self._left >= 0
                    else []
                )
        except OSError:
            return []

    def folders(self, folder: Path, form: re.Pattern[str]) -> list[Path]:
        """The folders in ``folder`` whose names have the ``form``, links to folders among them."""
        return [
            folder / name
            for name in self.names(folder)
            if form.fullmatch(name) and is_folder(folder / name)
        ]

    def ollama(self, root: Path) -> Iterator[ForeignModel]:
        for host in (host for name in MANIFESTS for host in self.folders(root / name, _HOST)):
            for model in (
                model
                for namespace in self.folders(host, _PART)
                for model in self.folders(namespace, _PART)
            ):
                for tag in filter(_PART.fullmatch, self.names(model)):
                    if blob := _blob(root / "blobs", _json(model / tag)):
                        yield ForeignModel(
                            "Ollama",
                            _ollama_name(host.name, model.parent.name, model.name, tag),
                            blob,
                        )

    def studio(self, folder: Path, above: str = "", depth: int = 0) -> Iterator[ForeignModel]:
        if above:
            for file in _models_in(folder, self.names(folder)):
                yield ForeignModel("LM Studio", above + file.name, file)
        if depth < DEEPEST:
            for inner in self.folders(folder, _SEEN):
                yield from self.studio(inner, f"{above}{inner.name}/", depth + 1)


def _ollama_name(host: str, namespace: str, model: str, tag: str) -> str:
    """As ``ollama list`` prints it."""
    public = host.lower() in PUBLIC
    before = (
        ""
        if public and namespace == LIBRARY
        else f"{namespace}/"
        if public
        else f"{host}/{namespace}/"
    )
    return f"{before}{model}:{tag}"


def _blob(blobs: Path, manifest: Any, depth: int = 0) -> Path | None:
    """The GGUF file that a manifest names: one, and inside ``blobs``."""
    match manifest:
        case {"manifests": [*children]} if not depth:
            for child in children[:16]:
                match child:
                    case {"layers": _}:
                        found = _blob(blobs, child, 1)
                    case {"digest": str(digest)} if file := _in(blobs, digest):
                        found = _blob(blobs, _json(file), 1)
                    case _:
                        found = None
                if found:
                    return found
        case {"layers": [*layers]}:
            digests = [
                layer.get("digest")
                for layer in layers[:1000]
                if isinstance(layer, dict) and layer.get("mediaType") == MODEL_LAYER
            ]
            return _in(blobs, digests[0]) if len(digests) == 1 else None
    return None


def _in(blobs: Path, digest: object) -> Path | None:
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    file = blobs / f"sha256-{match[1].lower()}" if match else None
    return file if file and is_file(file) else None


def _models_in(folder: Path, names: Iterable[str]) -> list[Path]:
    models = [
        name
        for name in names
        if name.endswith(".gguf") and "mmproj" not in name.lower() and is_first_part(name)
    ]
    return [folder / name for name in models if _SEEN.fullmatch(name) and is_file(folder / name)]


def is_folder(path: Path) -> bool:
    """Whether there is a folder at ``path`` that may be looked at."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _json(file: Path) -> Any:
    try:
        if not is_file(file) or file.stat().st_size > MAX_MANIFEST:
            return None
        with file.open("rb") as opened:
            return json.loads(opened.read(MAX_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return None
