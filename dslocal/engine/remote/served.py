"""Find out which engine it is and which model it serves, before anything is generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslocal.errors import NotFoundError, UsageError

from . import messages
from .address import EngineAddress
from .connection import EngineConnection
from .failures import changed_error, nonsense_error
from .protocols.llama_server import LlamaServer
from .protocols.protocol import EngineProtocol, UnexpectedReplyError, integer
from .protocols.sglang import Sglang
from .protocols.vllm import Vllm

PROTOCOLS: dict[str, EngineProtocol] = {
    "llamacpp": LlamaServer(),
    "vllm": Vllm(),
    "sglang": Sglang(),
}
VENDOR = "deepseek"
KNOWN = "vLLM, SGLang or llama-server"
MAX_CTX = 1 << 24
MAX_NAME = 300  # characters
MAX_LISTED = 8  # names in a message
MAX_MODELS = 10_000


@dataclass(frozen=True)
class ServedEngine:
    """An engine, and the model that it is asked for.

    Attributes:
        address: Where it is.
        protocol: How it is spoken to; None for DeepSeek's own API, which takes messages.
        model: What it calls the model.
        places: Where it says that the model's files are, and what else it calls the model.
        n_ctx: The tokens that prompt and answer may have together; 0 where it does not say.
        n_vocab: The tokens of the vocabulary; 0 where it does not say.
        slots: How many answers it generates at once; 0 where it does not say.
    """

    address: EngineAddress
    protocol: EngineProtocol | None
    model: str
    places: tuple[str, ...] = ()
    n_ctx: int = 0
    n_vocab: int = 0
    slots: int = 0

    @property
    def takes_messages(self) -> bool:
        """Return whether it takes messages in place of tokens."""
        return self.protocol is None

    @property
    def title(self) -> str:
        """Return the model's name for people: of a file, its own without folder and ending."""
        return Path(self.model).stem if self.model.endswith(".gguf") else self.model

    @property
    def names(self) -> tuple[str, ...]:
        """Return everything that it calls the model, or where it is, the most telling first."""
        return (*self.places, self.model)


def find_engine(connection: EngineConnection, model: str | None = None) -> ServedEngine:
    """Ask an engine what it is and what it serves.

    Args:
        connection: Speaks with it.
        model: Which of its models is wanted; None for the only one.

    Raises:
        NotFoundError: It does not serve that model.
        UsageError: It serves several, and none was named; or it is no engine that dslocal knows.
        DslocalError: It cannot be reached, or sends what makes no sense.
    """
    address = connection.address
    listed = _listed_models(connection)
    entry = _choose(address, listed, model)
    owner = entry.get("owned_by")
    if owner == VENDOR:
        return ServedEngine(address, None, entry["id"], n_ctx=messages.N_CTX)
    protocol = PROTOCOLS.get(owner) if isinstance(owner, str) else None
    if protocol is None:
        shown = owner if isinstance(owner, str) and owner.isprintable() else "unknown"
        raise UsageError(
            f"{address.url}: is not an engine that takes token ids (owned_by: {shown:.40})",
            hint=f"{KNOWN}",
        )
    try:
        if owner == "llamacpp":
            return _llama_server(connection, protocol, entry)
        return _python_engine(connection, protocol, entry)
    except UnexpectedReplyError as e:
        raise nonsense_error(address, f"sends {e}") from None


def check_unchanged(connection: EngineConnection, engine: ServedEngine) -> None:
    """Compare what an engine serves with what it served: it may have been started again.

    Args:
        connection: Speaks with it.
        engine: What :func:`find_engine` found before.

    Raises:
        DslocalError: It cannot be reached, or serves another model.
    """
    now = find_engine(connection, engine.model)
    if (now.protocol, now.names, now.n_vocab) != (engine.protocol, engine.names, engine.n_vocab):
        raise changed_error(engine.address, engine.title)


def served_names(connection: EngineConnection) -> list[str]:
    """Return what an engine calls its models. Raises DslocalError."""
    return [entry["id"] for entry in _listed_models(connection)]


def _listed_models(connection: EngineConnection) -> list[dict[str, Any]]:
    listing = connection.get("/v1/models")
    found = listing.get("data") if isinstance(listing, dict) else None
    entries = found[:MAX_MODELS] if isinstance(found, list) else []
    models = [entry for entry in entries if isinstance(entry, dict) and _name(entry.get("id"))]
    if not models:
        raise nonsense_error(connection.address, "lists no models")
    return models


def _choose(
    address: EngineAddress, models: Sequence[dict[str, Any]], wanted: str | None
) -> dict[str, Any]:
    """Return the entry of the model that is wanted."""
    names = ", ".join(str(model["id"]) for model in models[:MAX_LISTED])
    if len(models) > MAX_LISTED:
        names += f" and {len(models) - MAX_LISTED} more"
    if wanted is not None:
        for model in models:
            aliases = model.get("aliases")
            others = aliases if isinstance(aliases, list) else []
            if wanted == model["id"] or wanted in others:
                return model
        raise NotFoundError(f"{address.url}: serves no model {wanted!r:.100}", hint=f"-m {names}")
    base = [model for model in models if not model.get("parent")]  # others are adapters of it
    if len(base) != 1:
        raise UsageError(
            f"{address.url}: serves {len(models)} models, and none is chosen", hint=f"-m {names}"
        )
    return base[0]


def _python_engine(
    connection: EngineConnection, protocol: EngineProtocol, entry: dict[str, Any]
) -> ServedEngine:
    """Return what vLLM or SGLang say: the context in the list of models, and a path or a name."""
    length = entry.get("max_model_len")
    places = [_name(entry.get("root"))]
    if isinstance(protocol, Sglang):
        about = connection.find("/get_model_info")
        if isinstance(about, dict):
            places += [_name(about.get("tokenizer_path")), _name(about.get("model_path"))]
    return ServedEngine(
        connection.address,
        protocol,
        entry["id"],
        tuple(dict.fromkeys(place for place in places if place and place != entry["id"])),
        0 if length is None else integer(length, "a length", most=MAX_CTX),
    )


def _llama_server(
    connection: EngineConnection, protocol: EngineProtocol, entry: dict[str, Any]
) -> ServedEngine:
    """Return what llama-server says: its model's file, the context of a slot, and their number."""
    meta = entry.get("meta")
    about = meta if isinstance(meta, dict) else {}
    properties = connection.find("/props")
    props = properties if isinstance(properties, dict) else {}
    defaults = props.get("default_generation_settings")
    length = defaults.get("n_ctx") if isinstance(defaults, dict) else about.get("n_ctx")
    place = _name(props.get("model_path"))
    return ServedEngine(
        connection.address,
        protocol,
        entry["id"],
        (place,) if place and place != entry["id"] else (),
        integer(length or 0, "a length", most=MAX_CTX),
        integer(about.get("n_vocab") or 0, "a number of tokens"),
        integer(props.get("total_slots") or 0, "a number of slots"),
    )


def _name(value: Any) -> str:
    """Return ``value`` if it may be a name or a path; otherwise nothing."""
    if isinstance(value, str) and value.isprintable() and len(value) <= MAX_NAME:
        return value
    return ""
