"""Parse a model's name, from whatever program or page it was copied.

It understands pages and files of the hub and its mirrors (``https://huggingface.co/OWNER/NAME``,
``…/blob/main/FILE``, ``hf.co/OWNER/NAME``, ``hf://OWNER/NAME/FILE``), ``OWNER/NAME:QUANT`` as
llama.cpp and Ollama write it, Ollama's own ``NAME:TAG``, and LM Studio's ``PUBLISHER/NAME@QUANT``.
It uses neither the network nor the disk.
"""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

from dslocal.errors import UsageError

from ..quant_names import is_quant_label, is_quant_spelling, normal_quant, without_quant

HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co")
MIRROR_HOSTS = ("hf-mirror.com", "www.hf-mirror.com")
OLLAMA_HOSTS = ("ollama.com", "www.ollama.com", "registry.ollama.ai")
LM_STUDIO_HOSTS = ("lmstudio.ai", "www.lmstudio.ai", "model.lmstudio.ai")
LIBRARY = "library"  # Ollama's namespace of the models that it publishes itself
LM_STUDIO_PUBLISHER = "deepseek"  # the owner that LM Studio and OpenRouter give these models
NOT_MODELS = ("datasets", "spaces", "collections", "papers", "docs", "blog")  # parts of the hub
VIEWS = ("resolve", "blob", "raw", "tree", "commit", "commits", "blame", "edit", "delete")
# Pages of models that are fetched from elsewhere.
OTHER_HOSTS = {
    "modelscope.cn": "ModelScope",
    "www.modelscope.cn": "ModelScope",
    "github.com": "GitHub",
    "www.github.com": "GitHub",
    "gitee.com": "Gitee",
    "docker.io": "Docker",
    "hub.docker.com": "Docker",
    "www.kaggle.com": "Kaggle",
}
ABOUT = (".md", ".json", ".txt", ".jinja", ".gitattributes", "LICENSE")  # pages about a model
VARIANTS = ("free", "thinking", "extended", "nitro", "floor", "online")  # tags of OpenRouter's
GGUF = ".gguf"

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_SCHEME = re.compile(r"(https?|hf|hf-?hub|huggingface)://", re.IGNORECASE)
_COMMAND = re.compile(
    r"(?:ollama (?:run|pull)|lms get|hf download|huggingface-cli download|git clone"
    r"|llama-(?:cli|server) -hf|-hf|dslocal \w+)\s+",
    re.IGNORECASE,
)
_CACHE_FOLDER = re.compile(r"^models--([^-].*?)--(.+)$")  # in huggingface_hub's cache
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u2039\u203a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        "\u200b": "",  # a space without width
        "\ufeff": "",
    }
)
_PORT = re.compile(r":(?:80|443)$")
_GIT = re.compile(r"(?:git@|ssh://git@)(hf\.co|huggingface\.co)[:/]", re.IGNORECASE)


@dataclass(frozen=True)
class Spelling:
    """A model's name taken apart. What was not written is empty.

    Attributes:
        name: A name without an owner, such as ``deepseek-r1:7b``.
        repository: OWNER/NAME on the hub.
        revision: A branch, tag or commit there.
        file: A file there.
        quant: The quantization that was written behind the name, such as ``Q4_K_M``.
        endpoint: The mirror of the hub that was written; None for the hub itself.
    """

    name: str = ""
    repository: str = ""
    revision: str = ""
    file: str = ""
    quant: str = ""
    endpoint: str | None = None

    @property
    def hub_name(self) -> str:
        """Return ``hf:OWNER/NAME@REVISION/FILE``, without what was not written."""
        revision = f"@{self.revision}" if self.revision else ""
        file = f"/{self.file}" if self.file else ""
        return f"hf:{self.repository}{revision}{file}"


def read_spelling(text: str) -> Spelling | None:
    """Return what ``text`` names; None where it is not a name, but a path or another URL.

    Raises:
        UsageError: It is a page of the hub, of Ollama's or of LM Studio's that shows no model.
    """
    plain = _COMMAND.sub("", _as_typed(text).strip(" \t\r\n<>\"'`"), count=1)
    plain = _CACHE_FOLDER.sub(r"\1/\2", plain)
    if plain.startswith("//"):
        plain = f"https:{plain}"
    if not plain or not plain.isprintable() or plain.endswith((":", "@")):
        return None
    if re.match(r"ollama:", plain, re.IGNORECASE):
        return _ollama_name(re.sub(r"(?i)^ollama:(//)?", "", plain))
    page = _page_of(plain)
    if page is not None:
        return page
    if "://" in plain or plain.startswith(("/", "./", "../", "~")) or "\\" in plain:
        return None
    is_hub_name = plain[:3].lower() == "hf:"
    name = plain[3:].strip("/") if is_hub_name else plain.rstrip("/")
    if "/" not in name:
        return None if is_hub_name else _named(name)
    return _owned(name, has_prefix=is_hub_name)


def _as_typed(text: str) -> str:
    """Return ``text`` as a keyboard writes it: word processors change dashes, quotes and widths."""
    return unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)


def _page_of(text: str) -> Spelling | None:
    """Return what the address of a page names; None where ``text`` is not a known page."""
    text = _GIT.sub(r"https://\1/", text)
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if scheme and not scheme[1].lower().startswith("http"):
        return _hub_path(rest, "", None, text)
    written, path = _halves(rest, "/")
    host = _PORT.sub("", written.lower().rpartition("@")[2])
    if not path:
        return None
    endpoint = _endpoint(host)
    if host in HUB_HOSTS or endpoint is not None:
        split = urlsplit(f"//{host}/{path}")
        return _hub_path(split.path, split.query, endpoint, text)
    bare = path.partition("?")[0].partition("#")[0].strip("/")
    if host in OTHER_HOSTS:
        repository = "/".join(bare.removeprefix("models/").split("/")[:2])
        raise UsageError(
            f"{text!r:.200} is a page of {OTHER_HOSTS[host]}, and dslocal downloads models from "
            "Hugging Face",
            hint=f"try dslocal pull {repository:.100}",
        )
    if host in OLLAMA_HOSTS:
        return _ollama_name(bare)
    if host in LM_STUDIO_HOSTS:
        return _owned(bare.removeprefix("models/"), has_prefix=False)
    return None


def _endpoint(host: str) -> str | None:
    """Return the URL of a mirror of the hub that ``host`` is."""
    configured = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if configured and host not in HUB_HOSTS:
        with suppress(ValueError):  # a malformed one, of which the hub's own errors speak
            if host == urlsplit(configured).netloc.lower():
                return configured
    return f"https://{host}" if host in MIRROR_HOSTS else None


def _hub_path(path: str, query: str, endpoint: str | None, text: str) -> Spelling:
    """Return what a path on the hub names.

    Raises:
        UsageError: It does not belong to a model.
    """
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    if parts[:2] == ["api", "models"]:
        parts = parts[2:]
    elif parts[:1] == ["models"] and len(parts) > 2:
        parts = parts[1:]
    if parts and parts[0] in NOT_MODELS:
        raise UsageError(
            f"{text!r:.200} is not a model: the hub has {parts[0]} there",
            hint="a model's page is https://huggingface.co/OWNER/NAME",
        )
    if len(parts) < 2:
        raise UsageError(
            f"{text!r:.200} names an owner but no model",
            hint="a model's page is https://huggingface.co/OWNER/NAME",
        )
    found = _owned("/".join(parts[:2]).removesuffix(".git"), has_prefix=True)
    if found is None:
        raise UsageError(f"{text!r:.200} is not a name on the hub", hint="such as hf:OWNER/NAME")
    found = replace(found, endpoint=endpoint)
    shown = parse_qs(query).get("show_file_info", [""])[0]
    if shown:
        found = replace(found, file=shown)
    if len(parts) > 3 and parts[2] in VIEWS:
        return _at_revision(found, parts[2], parts[3:], text)
    if len(parts) > 2 and endpoint is None and not re.match(r"(?i)(https?:|hf\.co|hugg)", text):
        return replace(found, file="/".join(parts[2:]))
    return found


def _at_revision(found: Spelling, view: str, rest: list[str], text: str) -> Spelling:
    """Return ``found`` with the revision and the file, or the quantization, that a view shows."""
    count = 3 if rest[0] == "refs" else 1
    revision, file = "/".join(rest[:count]), "/".join(rest[count:])
    if revision == "main":
        revision = ""
    if file.endswith(ABOUT):
        file = ""
    if view != "tree" or not file:
        return replace(found, revision=revision, file=file)
    folder = rest[-1]
    quant = folder[len(without_quant(folder)) :].lstrip("-._ ")
    if not quant and not is_quant_spelling(folder):
        raise UsageError(
            f"{text!r:.200} is a folder of the repository",
            hint=f"name a file in it, or use {found.repository} with --quant",
        )
    return replace(found, revision=revision, quant=normal_quant(quant or folder))


def _owned(text: str, *, has_prefix: bool) -> Spelling | None:
    """Return what OWNER/NAME names, with ``:QUANT``, ``@QUANT``, ``@REVISION`` or a file.

    Args:
        text: The name, without a scheme.
        has_prefix: Whether ``hf:`` or the hub's address stood before it.
    """
    owner, rest = _halves(text, "/")
    if owner.lower() == LIBRARY and not has_prefix:
        return _ollama_name(text)
    if owner.lower() == LM_STUDIO_PUBLISHER and "/" not in rest and not has_prefix:
        return _named(
            rest.removesuffix(f":{rest.rpartition(':')[2]}") if _is_variant(rest) else rest
        )
    base, tag = _halves(text, ":")
    name, behind = _halves(base, "@")
    revision, file = _halves(behind, "/")
    if revision == "refs":  # refs/pr/N
        revision, file = "/".join(behind.split("/")[:3]), "/".join(behind.split("/")[3:])
    parts = name.split("/")
    repository = "/".join(parts[:2])
    if len(parts) > 2:
        file = "/".join(parts[2:])
    if not _REPOSITORY.fullmatch(repository) or ".." in text:
        return None  # parse_repository() says what is wrong with it
    if revision == "main":
        revision = ""
    quant = ""
    if tag.lower().endswith(GGUF):
        file = tag
    elif tag:
        if not is_quant_label(tag):
            return None
        quant = normal_quant(tag)
    if is_quant_spelling(revision) and not has_prefix and not quant:
        revision, quant = "", normal_quant(revision)
    return Spelling(repository=repository, revision=revision, file=file, quant=quant)


def _halves(text: str, separator: str) -> tuple[str, str]:
    """Return what is before the first ``separator``, and what is behind it."""
    parts = text.split(separator, 1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _is_variant(name: str) -> bool:
    return name.rpartition(":")[2].lower() in VARIANTS


def _ollama_name(text: str) -> Spelling | None:
    """Return what a name of Ollama's names; without a tag it is that of the tag "latest"."""
    name = text.strip("/")
    if name.startswith(("hf.co/", "huggingface.co/")):
        return _page_of(name)
    if name.startswith(f"{LIBRARY}/"):
        name = name.split("/")[1]  # without …/tags, …/blobs
    if "/" in name:
        raise UsageError(
            f"{text!r:.200} is a name that only Ollama knows",
            hint=f"ollama pull {name:.100}, then dslocal import {name:.100}",
        )
    return _named(name if ":" in name else f"{name}:latest") if name else None


def _named(name: str) -> Spelling | None:
    """Return what a name without an owner names."""
    if not name or "/" in name:
        return _owned(name, has_prefix=True) if name else None
    for separator in ("@", ":"):
        tail = name.rpartition(separator)[2]
        base = name[: -len(tail) - 1]
        if base and (is_quant_spelling(tail) or tail == "checkpoint"):
            return Spelling(name=base, quant=normal_quant(tail))
    if name.lower().endswith(GGUF):
        name = name[: -len(GGUF)]
    base = without_quant(name)
    quant = name[len(base) :].lstrip("-._ ") if base else ""
    return Spelling(name=base or name, quant=normal_quant(quant))
