"""Where models are published: Hugging Face's hub, a mirror of it, or a plain folder behind a URL.

They are named ``hf:OWNER/NAME`` (or only ``OWNER/NAME``, with ``@REVISION`` behind it),
``https://…`` and ``s3://BUCKET/…``. A plain folder has a ``SHA256SUMS``, as sha256sum writes it:
what is not listed there with its hash does not exist.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from dslocal.errors import DownloadError, UsageError

from . import environment, http
from .manifest import (
    MAX_FILES,
    SHA256,
    Manifest,
    RemoteFile,
    checked_name,
    index_by_name,
    parse_manifest,
)
from .wake_ups import wake_for_signals

if TYPE_CHECKING:
    import httpx2

# Bytes of JSON about one revision: the largest repositories take 2 MB, and hostile JSON takes 30
# times its size of memory.
MAX_LISTING = 8 << 20
SUMS = "SHA256SUMS"
MODEL_FILES = (".json", ".safetensors", ".gguf", ".jinja")
DEFAULT_REVISION = "main"

_HUB_ID = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<revision>[\w./-]{1,200}?))?(?:/(?P<file>[^@]+))?",
    re.ASCII,
)


class Repository(Protocol):
    """One place that a model's files come from."""

    @property
    def origin(self) -> str:
        """What it is called in messages, and typed as."""

    def manifest(self) -> Manifest:
        """Return what it holds now. Raises NotFoundError, DownloadError."""

    def read_range(
        self, manifest: Manifest, file: RemoteFile, start: int, stop: int
    ) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``stop`` of ``file`` at the manifest's commit.

        Raises what the transport raises, and DownloadError.
        """

    def fetch_quickly(self, manifest: Manifest, file: RemoteFile, path: Path) -> bool:
        """Write ``file`` to ``path`` by a quicker way than ranges; return False where none is."""


@dataclass(frozen=True)
class HubRepository:
    """A model on Hugging Face's hub.

    Attributes:
        repository: OWNER/NAME.
        revision: A branch, a tag, ``refs/pr/N`` or a commit.
        endpoint: A mirror's URL; without one it is HF_ENDPOINT's, else the hub's own.
    """

    repository: str
    revision: str = DEFAULT_REVISION
    endpoint: str | None = None

    @property
    def origin(self) -> str:
        """``hf:OWNER/NAME``, with the revision where it is not the default."""
        suffix = f"@{self.revision}" if self.revision != DEFAULT_REVISION else ""
        return f"hf:{self.repository}{suffix}"

    def manifest(self) -> Manifest:
        """Return what it holds now. Raises NotFoundError, DownloadError."""
        revision = quote(self.revision, safe="")
        url = f"{self._endpoint}/api/models/{self.repository}/revision/{revision}?blobs=true"

        def request() -> Manifest:
            body = http.get_small(url, self._headers, MAX_LISTING)
            try:
                listing = json.loads(body)
            except (ValueError, RecursionError):
                raise DownloadError(
                    f"{self.origin}: the hub's description of it is not JSON",
                    hint="is HF_ENDPOINT the address of a hub?",
                ) from None
            return parse_manifest(self.origin, self.repository.split("/")[1], listing)

        return http.with_retries(request, self.origin, first=True)

    def read_range(
        self, manifest: Manifest, file: RemoteFile, start: int, stop: int
    ) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``stop`` of ``file`` at the manifest's commit."""

        def check(first: httpx2.Response) -> None:
            _require_unchanged(first, manifest, file)

        return http.get_range(self._url(manifest, file), self._headers, start, stop, check)

    def fetch_quickly(self, manifest: Manifest, file: RemoteFile, path: Path) -> bool:
        """Download by Xet, where the hub has the file there and hf_xet is installed."""
        if not file.sha256:
            return False
        try:
            return self._fetch_by_xet(manifest, file, path)
        except Exception:  # of whatever kind: plain HTTP says what is wrong
            path.unlink(missing_ok=True)
            return False

    def _fetch_by_xet(self, manifest: Manifest, file: RemoteFile, path: Path) -> bool:
        from huggingface_hub import file_download

        if not file_download.is_xet_available():
            return False
        with wake_for_signals():
            found = file_download.get_hf_file_metadata(
                self._url(manifest, file), headers=self._headers, endpoint=self._endpoint
            )
            if found.xet_file_data is None:
                return False
            http.hub_functions().hide_progress()
            file_download.xet_get(
                incomplete_path=path,
                xet_file_data=found.xet_file_data,
                headers=self._headers,
                expected_size=file.size,
            )
        return True

    def _url(self, manifest: Manifest, file: RemoteFile) -> str:
        return f"{self._endpoint}/{self.repository}/resolve/{manifest.commit}/{quote(file.name)}"

    @cached_property
    def _endpoint(self) -> str:
        return (self.endpoint or environment.endpoint()).rstrip("/")

    @cached_property
    def _headers(self) -> dict[str, str]:
        """Headers with the token, if there is one; a redirect to another host goes without it."""
        # A mirror that only the name mentions is not given the token: nobody chose to trust it.
        is_trusted = self.endpoint is None
        token = None if is_trusted else False
        return http.hub_functions().build_headers(library_name="dslocal", token=token)


@dataclass(frozen=True)
class PlainFolder:
    """Files behind a URL, with their hashes in SHA256SUMS."""

    url: str

    @property
    def origin(self) -> str:
        """The URL."""
        return self.url

    def manifest(self) -> Manifest:
        """Return what SHA256SUMS lists. Raises NotFoundError, DownloadError."""
        listing = http.with_retries(
            lambda: http.get_small(f"{self._base}/{SUMS}", {}, MAX_LISTING),
            f"{self.url}: {SUMS}",
            first=True,
        )
        lines = listing.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
        if len(lines) > MAX_FILES:
            listed = f"{SUMS} lists {len(lines):,} files"
            raise DownloadError(f"{self.url}: {listed}; more than {MAX_FILES:,} cannot be right")
        files = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            sha256, name = self._parse_line(number, line)
            if name.endswith(MODEL_FILES):
                files.append(RemoteFile(name, self._size(name), sha256))
        state = hashlib.sha1(listing, usedforsecurity=False).hexdigest()
        name = self._base.rsplit("/", 1)[-1]
        return Manifest(self.url, name, state, index_by_name(self.url, files), git=False)

    def _parse_line(self, number: int, line: str) -> tuple[str, str]:
        """Return hash and name of a line."""
        parts = line.strip().split(" ", 1)
        sha256 = parts[0].lower()
        if not SHA256.fullmatch(sha256):
            raise DownloadError(
                f"{self.url}: {SUMS}: line {number}: no SHA-256 and name",
                hint="write it as sha256sum does",
            )
        name = parts[1].strip() if len(parts) > 1 else ""
        return sha256, checked_name(self.url, name.removeprefix("*").removeprefix("./"))

    def _size(self, name: str) -> int:
        url = f"{self._base}/{quote(name)}"
        size = http.with_retries(lambda: http.content_length(url, {}), f"{self.url}: {name}")
        if size is None:
            raise DownloadError(f"{self.url}: {name}: the server does not say how large it is")
        return size

    def read_range(
        self, manifest: Manifest, file: RemoteFile, start: int, stop: int
    ) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``stop`` of ``file``."""
        return http.get_range(f"{self._base}/{quote(file.name)}", {}, start, stop, None)

    def fetch_quickly(self, manifest: Manifest, file: RemoteFile, path: Path) -> bool:
        """Return False: ranges are the only way."""
        return False

    @cached_property
    def _base(self) -> str:
        split = urlsplit(self.url)
        if split.scheme == "s3":
            return f"https://{split.netloc}.s3.amazonaws.com{split.path}".rstrip("/")
        return self.url.rstrip("/")


class NamedRepository(NamedTuple):
    """What a text names: a repository, and the file in it, empty where none is named."""

    repository: Repository
    file: str


def parse_repository(text: str, *, endpoint: str | None = None) -> NamedRepository | None:
    """Return the repository that ``text`` names; None where it names none.

    Args:
        text: ``hf:OWNER/NAME@REVISION/FILE``, of which only OWNER/NAME is needed, or the URL of a
            folder or of a GGUF file in one.
        endpoint: A mirror's URL, instead of HF_ENDPOINT's.

    Raises:
        UsageError: It is meant as a name or a URL, and malformed.
    """
    if re.match(r"(https?|s3)://", text):
        try:
            split = urlsplit(text)
        except ValueError:  # a bracket that is not closed
            split = urlsplit("")
        is_plain = split.hostname and not (split.query or split.fragment or split.username)
        if not is_plain or not text.isprintable():
            raise UsageError(
                f"{text!r:.100} is not the URL of a folder",
                hint=f"such as https://HOST/PATH, with a {SUMS} in it",
            )
        folder = text.rstrip("/")
        if not folder.endswith(".gguf"):
            return NamedRepository(PlainFolder(folder), "")
        file = folder.rpartition("/")[2]
        return NamedRepository(PlainFolder(folder.removesuffix(f"/{file}")), unquote(file))
    match = _HUB_ID.fullmatch(text.removeprefix("hf:"))
    revision = (match["revision"] if match else "") or DEFAULT_REVISION
    if match is None or ".." in text or "" in revision.split("/"):
        if text.startswith("hf:"):
            raise UsageError(
                f"{text!r:.100} is not a name on the hub",
                hint="write it as hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME/FILE",
            )
        return None
    repository = HubRepository(match["repository"], revision, endpoint)
    return NamedRepository(repository, match["file"] or "")


def _require_unchanged(first: httpx2.Response, manifest: Manifest, file: RemoteFile) -> None:
    """Raise DownloadError when the hub gives another commit, or another file, than it listed."""
    where = f"{manifest.origin}: {file.name}"
    commit: str = first.headers.get("X-Repo-Commit", manifest.commit)
    if commit != manifest.commit:
        raise DownloadError(
            f"{where}: comes from commit {commit[:12]!r}, not from {manifest.commit[:12]}",
            hint="the repository has changed: files of the two commits were not mixed",
        )
    etag = (first.headers.get("X-Linked-Etag") or "").removeprefix("W/").strip('"')
    if file.sha256 and etag and etag != file.sha256:
        raise DownloadError(
            f"{where}: the hub now gives another hash for it than it listed",
            hint="try again later",
        )
