"""A model that a server may load, and one that it has loaded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dslocal import prompts
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import DeviceShare
from dslocal.server.preparation.requests import ServedModel
from dslocal.server.queue import RequestQueue

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.engine.prefix_cache.prefix_cache import PrefixCache


@dataclass(frozen=True)
class OpenedModel:
    """A model that answers.

    Attributes:
        served: What all its requests share.
        slots: Where answers are generated.
        prefix_cache: Keeps evaluated prompts on disk; None where that is turned off.
    """

    served: ServedModel
    slots: Sequence[EngineContext]
    prefix_cache: PrefixCache | None = None


@dataclass(frozen=True, eq=False)
class OfferedModel:
    """A model that requests may name.

    Attributes:
        name: The name that it is listed by.
        names: All names that requests may give it.
        fingerprint: The fingerprint of its file.
        need: Bytes that it takes when it is loaded, by its plan.
        n_ctx: Tokens of context of each answer, by its plan.
        header: The header of its file.
        family: How it is prompted.
        open: Loads it for as long as the context lasts. Called in a thread, one model at a time.
        aliases: Names besides, which are listed too.
    """

    name: str
    names: frozenset[str]
    fingerprint: str
    need: DeviceShare
    n_ctx: int
    header: GgufHeader
    family: prompts.Family
    open: Callable[[], AbstractContextManager[OpenedModel]]
    aliases: tuple[str, ...] = ()

    def is_called(self, name: str) -> bool:
        """Return whether ``name`` means this model."""
        return name in self.names or name in self.aliases


@dataclass(eq=False)
class LoadedModel:
    """A model in memory. For the event loop's thread alone.

    Attributes:
        entry: What it was opened from.
        opened: Its slots and what all its requests share.
        queue: Hands out its slots.
        users: How many requests hold it.
        last_used: When a request last took or released it, as a count of such events.
        keep_s: Seconds that it stays loaded after its last request; infinite until another model
            needs the memory.
        expiry: Unloads it when these are over; None where nothing does.
        leaving: Unloads it once it is idle; None as long as it takes requests.
    """

    entry: OfferedModel
    opened: OpenedModel
    queue: RequestQueue
    users: int = 0
    last_used: int = 0
    keep_s: float = math.inf
    expiry: asyncio.TimerHandle | None = None
    leaving: asyncio.Task[None] | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def served(self) -> ServedModel:
        """Return what all its requests share."""
        return self.opened.served

    @property
    def seconds_left(self) -> float:
        """Return for how many seconds it stays loaded if no request comes; may be infinite."""
        if self.expiry is None:
            return self.keep_s
        return max(0.0, self.expiry.when() - asyncio.get_running_loop().time())


class ModelLease:
    """The right of one request to a loaded model, which stays loaded until it is released."""

    def __init__(self, model: LoadedModel, on_release: Callable[[LoadedModel], None]) -> None:
        self._model = model
        self._on_release: Callable[[LoadedModel], None] | None = on_release

    @property
    def served(self) -> ServedModel:
        """Return what all requests of the model share."""
        return self._model.served

    @property
    def prefix_cache(self) -> PrefixCache | None:
        """Return what keeps evaluated prompts of the model on disk, if anything does."""
        return self._model.opened.prefix_cache

    @property
    def queue(self) -> RequestQueue:
        """Return what hands out the slots of the model."""
        return self._model.queue

    def keep_loaded(self, seconds: float) -> None:
        """Have the model stay loaded for so long after its last request; may be infinite."""
        self._model.keep_s = seconds

    def release(self) -> None:
        """Give the right back. May be called again."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release(self._model)
