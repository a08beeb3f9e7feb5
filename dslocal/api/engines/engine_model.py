"""Find a model that an engine at a URL serves, and recognise its family.

Combines the engine's description of itself, the vocabulary on this machine, and the model's family.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.errors import NotFoundError, UsageError
from dslocal.files import read_limited
from dslocal.gguf.header import GgufHeader, read_header

if TYPE_CHECKING:
    from dslocal.engine.remote import (
        EngineAddress,
        MessageContext,
        RemoteContext,
        ServedEngine,
    )
    from dslocal.prompts import Family

Notice = Callable[[str], None]

KEY = "DSLOCAL_ENGINE_KEY"
KEY_FILE = "DSLOCAL_ENGINE_KEY_FILE"
VENDOR_KEY = "DEEPSEEK_API_KEY"
MAX_KEY_BYTES = 4096
MIN_CTX = 256
VENDOR_FAMILY = "v4.1"  # of DeepSeek's own API where the model's name says nothing
WITHOUT_REASONING = "-chat"  # the end of names of models that reason only on request
GGUF_VERSION = 3


@dataclass(frozen=True)
class EngineModel:
    """A model that an engine serves.

    Attributes:
        engine: The engine.
        path: A GGUF file with the model's vocabulary.
        header: The header of that file, with the engine's name of the model.
        family: How it is prompted.
    """

    engine: ServedEngine
    path: Path
    header: GgufHeader
    family: Family


def is_engine_url(model: object) -> bool:
    """Return whether a name of a model is the URL of an engine."""
    return isinstance(model, str) and model.strip().startswith(("http://", "https://"))


def engine_at(url: str, *, key_file: str | Path | None = None, source: str = "") -> EngineAddress:
    """Return the address of an engine, with the key for it from the environment or a file.

    Args:
        url: The engine's URL.
        key_file: A file that holds the key, where the environment has none.
        source: What errors call the URL.

    Raises:
        UsageError: It is not a URL, or the key cannot be read.
    """
    from dslocal.engine.remote import engine_address

    address = engine_address(url, source=source or "engine")
    key = os.environ.get(KEY, "")
    if not key and address.is_vendor:
        key = os.environ.get(VENDOR_KEY, "")
    named = os.environ.get(KEY_FILE) or key_file
    if not key and named:
        key = _read_key(Path(named).expanduser())
    return engine_address(url, key.strip(), source=source or "engine")


def find_engine_model(
    address: EngineAddress,
    *,
    model: str | None = None,
    tokenizer: str | None = None,
    family: str | None = None,
) -> EngineModel:
    """Ask an engine which models it serves, and recognise the model. This sends nothing of a
    conversation.

    Args:
        address: The engine.
        model: Which of its models is wanted; None for the only one.
        tokenizer: Where the model's vocabulary is; None looks for it on this machine.
        family: The family to use instead of the recognised one.

    Raises:
        NotFoundError: The engine has no such model, or its tokenizer is not on this machine.
        DslocalError: The engine cannot be reached, or no prompt can be written for the model.
    """
    from dslocal.api.file_faults import require_promptable
    from dslocal.catalog import served_vocabulary
    from dslocal.catalog.pulled_family import pulled_family
    from dslocal.engine.remote import EngineConnection, find_engine
    from dslocal.prompts import recognise_family

    with EngineConnection(address) as connection:
        engine = find_engine(connection, model)
    if engine.takes_messages:
        return _message_model(engine, family)
    if tokenizer is not None:
        path = served_vocabulary.vocabulary_at(tokenizer)
    else:
        path = served_vocabulary.find_vocabulary(engine.names, is_here=address.is_loopback)
    header = read_header(path)
    if _is_served_file(path, engine):
        known = family or pulled_family(path)
    else:
        header = _renamed(header, engine.names)
        known = family or served_vocabulary.known_family(engine.names)
    recognised = recognise_family(header, known)
    require_promptable(engine.model, header, recognised.family)
    return EngineModel(engine, path, header, recognised.family)


def _message_model(engine: ServedEngine, forced: str | None) -> EngineModel:
    """Return a model of DeepSeek's own API, whose family decides only the default settings."""
    from dslocal.prompts import FAMILIES, Thinking, family_of_name, get_family

    family = get_family(forced) if forced else family_of_name(engine.model)
    family = family or FAMILIES[VENDOR_FAMILY]
    if engine.model.endswith(WITHOUT_REASONING) and Thinking.BYPASSED in family.thinking_modes:
        family = replace(family, thinking_modes=(Thinking.BYPASSED, Thinking.FORCED))
    header = GgufHeader(GGUF_VERSION, {"general.name": engine.model}, (), 0)
    return EngineModel(engine, Path(engine.model), header, family)


@contextmanager
def open_remote_context(
    found: EngineModel, n_ctx: int | None, on_notice: Notice
) -> Iterator[RemoteContext | MessageContext]:
    """Yield a context at the engine, after checking its tokenizer.

    Args:
        found: What :func:`find_engine_model` found.
        n_ctx: Use at most this many tokens of context; None for all that the engine has.
        on_notice: Receives what a user should know.

    Raises:
        RemoteEngineError: The engine's tokenizer is another one.
        UsageError: Neither the engine nor ``n_ctx`` says how long a context may be.
    """
    from dslocal.engine import LlamaModel
    from dslocal.engine.remote import (
        EngineConnection,
        MessageContext,
        RemoteContext,
        check_tokenizer,
    )

    engine = found.engine
    if engine.takes_messages:
        with EngineConnection(engine.address) as connection:
            yield MessageContext(connection, engine.model, on_notice)
        return
    length = min(n_ctx or engine.n_ctx, engine.n_ctx or n_ctx or 0)
    if length < MIN_CTX:
        raise UsageError(
            f"{engine.address.url}: does not say how long a context may be",
            hint="give it with --ctx",
        )
    with (
        EngineConnection(engine.address) as connection,
        LlamaModel(found.path, header=found.header, vocab_only=True) as vocabulary,
    ):
        specials = special_tokens(found.family)
        unchecked = check_tokenizer(connection, engine, vocabulary, specials)
        if unchecked:
            on_notice(unchecked)
        yield RemoteContext(engine, connection, vocabulary, length, on_notice)


def special_tokens(family: Family) -> list[str]:
    """Return the special tokens that a family's prompts and answers have."""
    from dslocal.prompts.messages import Message, Special

    turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    prompt = family.render(turns[:1] if family.is_base else turns)
    found = [segment.token for segment in prompt if isinstance(segment, Special)]
    found += [special.token for special in (*family.format.stop, *(family.format.think or ()))]
    return list(dict.fromkeys(found))


def _is_served_file(path: Path, engine: ServedEngine) -> bool:
    """Return whether the vocabulary is from the same file that the engine has loaded."""
    return any(path.name == Path(name).name for name in engine.names)


def _renamed(header: GgufHeader, names: Sequence[str]) -> GgufHeader:
    """Return ``header`` with what the engine calls the model in place of its own names."""
    kept = {
        key: value
        for key, value in header.metadata.items()
        if not key.startswith("general.") or key == "general.architecture"
    }
    shown = " ".join(name.rstrip("/").rpartition("/")[2] for name in names)
    return replace(header, metadata={**kept, "general.name": shown})


def _read_key(file: Path) -> str:
    try:
        data = read_limited(file, max_bytes=MAX_KEY_BYTES)
    except FileNotFoundError:
        raise NotFoundError(f"{file}: the file with the engine's key does not exist") from None
    except OSError as e:
        raise UsageError(f"{file}: the engine's key cannot be read: {e.strerror}") from None
    try:
        return data[:MAX_KEY_BYTES].decode("ascii").strip()
    except ValueError:
        raise UsageError(f"{file}: holds what cannot be a key") from None
