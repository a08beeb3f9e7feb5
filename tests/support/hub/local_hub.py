"""A hub on loopback that speaks the Hugging Face Hub's HTTP protocol, with faults on demand.

    with LocalHub() as hub:
        commit = hub.add("test/v3-like", folder)
        hub.fault("*.safetensors", "cut", at=1000)
        ...                                        # HF_ENDPOINT=hub.url
        assert hub.complete_fetches("model.safetensors") == 1

It has what a client needs to look at models and to download them over plain HTTP: no Xet, no
uploads, no data sets. Large files are redirected to a second origin as the real hub does. Plain
folders are served too, as any web server would. Tokens: ``MEMBER`` may read everything,
``STRANGER`` is valid and may not read what is private or gated, every other one is refused.

In a terminal: ``python tests/support/hub/local_hub.py FOLDER [OWNER/NAME] [--port N]``. Knows
nothing of dslocal.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))  # when it is run as a program

from support.hub.hub_answers import (
    Answer,
    Blob,
    Exchange,
    Listener,
    Refusal,
    deliveries,
    file_answer,
    json_answer,
    redirect,
    tree_entries,
)
from support.hub.hub_faults import Fault

MEMBER, STRANGER = "hf_member", "hf_stranger"
Files = Mapping[str, bytes | Path | None]


@dataclass
class Repository:
    """A repository of the hub, with its commits."""

    private: bool
    gated: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    made: int = 0


class Route(NamedTuple):
    """What a path of the hub means."""

    kind: str
    repo: str = ""
    revision: str = ""
    name: str = ""


class LocalHub:
    """A hub on loopback.

    ``resolve_cache``: small files are redirected within the hub, as the real hub does now.
    ``page``: entries of a tree in one answer.
    ``xet``: large files are said to be in a Xet store, too, whose requests all fail.
    """

    def __init__(
        self, port: int = 0, *, resolve_cache: bool = True, page: int = 1000, xet: bool = False
    ) -> None:
        self.resolve_cache, self.page = resolve_cache, page
        self.xet = xet
        self.stopping = threading.Event()
        self.errors: list[BaseException] = []
        self._lock = threading.RLock()
        self._repos: dict[str, Repository] = {}
        self._folders: dict[str, dict[str, Blob]] = {}
        self._faults: list[Fault] = []
        self._requests: list[Exchange] = []
        self._listeners = [Listener(self, "hub", port), Listener(self, "cdn", 0)]
        self.url, self.cdn_url = (
            f"http://127.0.0.1:{listener.server_address[1]}" for listener in self._listeners
        )

    def __enter__(self) -> LocalHub:
        for listener in self._listeners:
            threading.Thread(target=listener.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stopping.set()
        for listener in self._listeners:
            listener.stop()
        if self.errors and kind is None:
            raise self.errors[0]

    def add(
        self,
        repo: str,
        files: Path | Files,
        *,
        private: bool = False,
        gated: bool = False,
        sha256: Mapping[str, str] | None = None,
    ) -> str:
        """Add a repository with one commit, on main.

        Files on disk are sent as they are at that time; ``sha256`` spares reading big ones.
        """
        with self._lock:
            self._repos[repo] = Repository(private, gated)
            return self.commit(repo, files, sha256=sha256)

    def commit(
        self,
        repo: str,
        changes: Path | Files,
        *,
        branch: str = "main",
        sha256: Mapping[str, str] | None = None,
    ) -> str:
        """A commit on top of ``branch`` (None: the file goes), which moves to it."""
        with self._lock:
            it = self._repos[repo]
            files = dict(it.commits.get(it.refs.get(branch, it.refs.get("main", "")), {}))
            for name, source in (_files(changes) if isinstance(changes, Path) else changes).items():
                files.pop(name, None)
                if source is not None:
                    files[name] = Blob(name, source, (sha256 or {}).get(name))
            it.made += 1
            stamps = sorted((name, blob.stamp) for name, blob in files.items())
            commit = hashlib.sha1(f"{repo} {it.made} {stamps}".encode()).hexdigest()
            it.commits[commit] = files
            it.refs[branch] = commit
            return commit

    def ref(self, repo: str, name: str, commit: str) -> None:
        """A branch, a tag, or refs/pr/N."""
        with self._lock:
            self._repos[repo].refs[name] = commit

    def drop_commit(self, repo: str, commit: str) -> None:
        """History was rewritten: nothing of this commit can be had any more."""
        with self._lock:
            del self._repos[repo].commits[commit]

    def serve_folder(self, prefix: str, folder: Path) -> str:
        """Serve the files that ``folder`` has now as plain ones, with a SHA256SUMS.

        Returns their base URL.
        """
        blobs = {name: Blob(name, path) for name, path in _files(folder).items()}
        with self._lock:
            self._folders[prefix.rstrip("/")] = blobs
        return self.url + prefix.rstrip("/")

    def fault(
        self,
        pattern: str,
        kind: str,
        times: int | None = 1,
        *,
        skip: int = 0,
        method: str = "",
        origin: str = "",
        **parameters: Any,
    ) -> None:
        """Make answers go wrong.

        These are the first ``times`` (None: all) that are about ``pattern``, after ``skip`` good
        ones.

        A pattern that begins with a slash is of paths, else of file names, wherever they are asked
        for. Kinds and their parameters: hub_faults. An answer has one fault, the one given first of
        those that are about it.
        """
        with self._lock:
            self._faults.append(Fault(pattern, kind, times, skip, method, origin, parameters))

    @property
    def faults_done(self) -> list[tuple[str, str]]:
        """The kind and the path of every fault that struck, in order."""
        return [(exchange.fault, exchange.path) for exchange in self.requests if exchange.fault]

    @property
    def faults_left(self) -> list[tuple[str, str]]:
        """The kind and the pattern of every fault that still waits."""
        with self._lock:
            return [(fault.kind, fault.pattern) for fault in self._faults if fault.times != 0]

    @property
    def requests(self) -> list[Exchange]:
        """Return all requests, in order."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Forgets all requests and faults."""
        with self._lock:
            self._requests.clear()
            self._faults.clear()

    def sent(self, file: str | None = None) -> int:
        """Return how many bytes of bodies went out.

        Of all requests, or of those that came as a file: not the few words of a redirect or an
        error.
        """
        return sum(
            one.sent
            for one in self.requests
            if file is None or (one.file == file and one.status in (200, 206))
        )

    def complete_fetches(self, file: str) -> int:
        """Return how often the file's least sent byte was sent.

        Ranges that make up the file count once together, in whatever order.

        Contents are counted apart (two commits, two repositories) and added up. Bytes count that
        went out, right or flipped; what went out compressed does not count.
        """
        bodies: dict[str, list[Exchange]] = {}
        for exchange in self.requests:
            if exchange.file == file and exchange.blob is not None and exchange.method == "GET":
                bodies.setdefault(exchange.blob.etag, []).append(exchange)
        return sum(deliveries(group) for group in bodies.values())

    def answer(
        self, origin: str, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[Answer, Exchange]:
        """What a request gets, fault or not, and its entry in the record."""
        url = urlsplit(target)
        with self._lock:
            route = self._route(origin, url.path)
            asked = headers.get("range", "")
            try:
                answer = self._respond(route, method, parse_qs(url.query), headers)
            except Refusal as refusal:
                body = str(refusal).encode()
                answer = Answer(
                    method,
                    refusal.status,
                    {"Content-Type": "text/plain", **refusal.headers},
                    [body],
                    len(body),
                )
            path = unquote(url.path)
            file = route.name if route.kind not in ("info", "tree") else ""
            struck = ""
            for fault in self._faults:
                if (wrong := fault.strike(answer, origin, path, file)) is not None:
                    answer, struck = wrong, fault.kind
                    break
            part = (
                (answer.start, answer.start + (answer.length or 0))
                if asked and answer.status == 206
                else None
            )
            status = 0 if answer.silent else answer.status
            exchange = Exchange(
                method, path, url.query, origin, headers, route.repo, file, status, part, struck
            )
            exchange.start, exchange.blob = answer.start, answer.blob
            self._requests.append(exchange)
            return answer, exchange

    def _route(self, origin: str, path: str) -> Route:
        for prefix in self._folders:
            if origin == "hub" and path.startswith(f"{prefix}/"):
                return Route("plain", "", prefix, unquote(path.removeprefix(f"{prefix}/")))
        match [origin, *(unquote(part) for part in path.split("/")[1:])]:
            case [_, "loop"]:
                return Route("loop")
            case ["cdn", "lfs", owner, name, digest, *file]:
                return Route("lfs", f"{owner}/{name}", digest, "/".join(file))
            case ["hub", "api", "models", owner, name]:
                return Route("info", f"{owner}/{name}", "main")
            case ["hub", "api", "models", owner, name, "revision", revision]:
                return Route("info", f"{owner}/{name}", revision)
            case ["hub", "api", "models", owner, name, "xet-read-token", revision]:
                return Route("xet", f"{owner}/{name}", revision)
            case ["hub", "api", "models", owner, name, "tree", revision, *folder]:
                return Route("tree", f"{owner}/{name}", revision, "/".join(folder))
            case ["hub", "api", "resolve-cache", "models", owner, name, revision, *file]:
                return Route("cache", f"{owner}/{name}", revision, "/".join(file))
            case ["hub", owner, name, "resolve", revision, *file]:
                return Route("resolve", f"{owner}/{name}", revision, "/".join(file))
        return Route("")

    def _respond(
        self, route: Route, method: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer:
        if route.kind == "loop":
            return redirect(method, 302, "/loop")
        if route.kind == "plain":
            return self._plain(self._folders[route.revision], route.name, method, headers)
        if route.kind == "lfs":
            commits = self._repos[route.repo].commits.values() if route.repo in self._repos else ()
            found = next(
                (
                    blob
                    for files in commits
                    for blob in [files.get(route.name)]
                    if blob and blob.sha256 == route.revision
                ),
                None,
            )
            if found is None:
                raise Refusal(403, "", "AccessDenied")
            return file_answer(
                found,
                found.etag,
                method,
                headers,
                Content_Disposition=f'inline; filename="{quote(route.name)}"',
            )
        if not route.kind:
            raise Refusal(404, "", "Not Found")
        repo = self._repository(route.repo, headers, files=route.kind in ("resolve", "cache"))
        commit = repo.refs.get(route.revision, route.revision)
        if commit not in repo.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {route.revision}")
        files = repo.commits[commit]
        if route.kind == "xet":
            return json_answer(method, {}, _xet_token(self.cdn_url))
        if route.kind == "info":
            return json_answer(
                method,
                _info(
                    route.repo,
                    repo,
                    commit,
                    blobs=query.get("blobs", [""])[0].lower() in ("true", "1"),
                ),
            )
        if route.kind == "tree":
            return self._tree(route, files, method, query)
        blob = files.get(route.name)
        if blob is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
        return self._file(route, commit, blob, method, headers)

    def _file(
        self, route: Route, commit: str, blob: Blob, method: str, headers: Mapping[str, str]
    ) -> Answer:
        said = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        linked = {"X-Linked-Etag": blob.etag, "X-Linked-Size": str(blob.size), "ETag": blob.etag}
        where = f"{route.repo}/{blob.sha256 if blob.lfs else commit}/{quote(route.name)}"
        if blob.lfs:
            if self.xet:
                tokens = f"{self.url}/api/models/{route.repo}/xet-read-token/{commit}"
                linked |= {"X-Xet-Hash": blob.sha256, "X-Xet-Refresh-Route": tokens}
            return redirect(
                method,
                302,
                f"{self.cdn_url}/lfs/{where}?Expires=1&Signature=local",
                {**said, **linked},
            )
        if route.kind == "resolve" and self.resolve_cache:
            return Answer(
                method,
                307,
                {
                    **said,
                    **linked,
                    "Location": f"/api/resolve-cache/models/{where}?"
                    + urlencode({"etag": blob.etag}),
                },
            )
        return file_answer(blob, blob.etag, method, headers, X_Repo_Commit=commit)

    def _repository(self, name: str, headers: Mapping[str, str], *, files: bool) -> Repository:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token not in ("", MEMBER, STRANGER):
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        repo = self._repos.get(name)
        if repo is None or (repo.private and token != MEMBER):
            if token:
                raise Refusal(404, "RepoNotFound", "Repository not found")
            raise Refusal(
                401,
                "RepoNotFound",
                "Invalid username or password.",
                WWW_Authenticate='Bearer realm="Authentication required"',
            )
        if files and repo.gated and token != MEMBER:
            wanted = (
                "and you are not in the authorized list"
                if token
                else "You must have access to it and be authenticated to access it"
            )
            raise Refusal(
                403 if token else 401,
                "GatedRepo",
                f"Access to model {name} is restricted. {wanted}.",
            )
        return repo

    def _tree(
        self, route: Route, files: Mapping[str, Blob], method: str, query: Mapping[str, list[str]]
    ) -> Answer:
        recursive = query.get("recursive", [""])[0].lower() in ("true", "1")
        entries = list(tree_entries(files, route.name, recursive=recursive))
        if route.name and not entries:
            raise Refusal(404, "EntryNotFound", f"{route.name} does not exist")
        start = int(query.get("cursor", ["0"])[0])
        stop = start + self.page
        more = urlencode({"recursive": str(recursive).lower(), "cursor": stop})
        path = f"/api/models/{route.repo}/tree/{quote(route.revision, safe='')}" + (
            f"/{quote(route.name, safe='')}" if route.name else ""
        )
        link = {"Link": f'<{self.url}{path}?{more}>; rel="next"'} if stop < len(entries) else {}
        return json_answer(method, entries[start:stop], link)

    def _plain(
        self, files: Mapping[str, Blob], name: str, method: str, headers: Mapping[str, str]
    ) -> Answer:
        blob = files.get(name)
        if blob is None and name == "SHA256SUMS":
            blob = Blob(
                name, "".join(f"{blob.sha256}  {other}\n" for other, blob in files.items()).encode()
            )
        if blob is None:
            raise Refusal(404, "", "Not Found")
        return file_answer(blob, blob.stamp, method, headers)


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _xet_token(store: str) -> dict[str, str]:
    """Return the headers that lead to a Xet store."""
    return {
        "X-Xet-Cas-Url": store,
        "X-Xet-Access-Token": "token",
        "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
    }


def _info(name: str, repo: Repository, commit: str, *, blobs: bool) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = [{"rfilename": file} for file in sorted(repo.commits[commit])]
    for sibling in siblings if blobs else ():
        blob = repo.commits[commit][sibling["rfilename"]]
        sibling |= {"blobId": blob.blob_id, "size": blob.size}
        if blob.lfs:
            sibling["lfs"] = {
                "sha256": blob.sha256,
                "size": blob.size,
                "pointerSize": len(blob.pointer),
            }
    return {
        "_id": commit[:24],
        "id": name,
        "modelId": name,
        "author": name.split("/", maxsplit=1)[0],
        "sha": commit,
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "lastModified": "2025-01-20T03:46:07.000Z",
        "createdAt": "2025-01-20T03:46:07.000Z",
        "tags": [],
        "siblings": siblings,
    }


def main() -> None:
    """Serve a folder until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve a folder as a model on a local hub.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("repository", nargs="?", default="test/model")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    with LocalHub(given.port) as hub, contextlib.suppress(KeyboardInterrupt):
        hub.add(given.repository, given.folder)
        print(
            f"HF_ENDPOINT={hub.url}",
            hub.serve_folder("/files", given.folder),
            given.repository,
            sep="\n",
            flush=True,
        )
        threading.Event().wait()


if __name__ == "__main__":
    main()
