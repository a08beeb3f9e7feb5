"""All models of a server: each request uses the one that it names, which is loaded when needed.

Where memory does not hold another model, those that no request has used for longest are unloaded,
and so are those that a client wants no longer. They first finish what they are answering; requests
that come meanwhile wait until they are loaded again. Models are loaded one at a time, in the order
in which they were asked for. For the event loop's thread alone, but for opening and closing models.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from dslocal.errors import DslocalError
from dslocal.files import binary_size
from dslocal.plan.load_config import DeviceShare
from dslocal.server.queue import RequestQueue, queue_full_error, stopping_error
from dslocal.server.wire.errors import ApiError

from .offered_model import LoadedModel, ModelLease, OfferedModel, OpenedModel

MAX_SHOWN_NAME = 100
MAX_LISTED_NAMES = 10  # in an error


@dataclass(eq=False)
class _Load:
    """A model that is to be loaded, and the requests that wait for it."""

    entry: OfferedModel
    waiting: deque[asyncio.Future[ModelLease]] = field(default_factory=deque)


class ModelSet:
    """The models that a server offers, at least one. The first answers requests that name none.

    Attributes:
        entries: All of them.
        on_eviction: Called when a model was unloaded because another needs its memory.
        is_stopping: Whether no more requests are taken.
    """

    def __init__(
        self,
        entries: Sequence[OfferedModel],
        budget: DeviceShare,
        *,
        max_waiting: int,
        log: Callable[[str], None],
        has_any_name: bool = False,
    ) -> None:
        """Offer ``entries``; none is loaded yet.

        Args:
            entries: The models.
            budget: Bytes that the loaded ones may take together.
            max_waiting: How many requests may wait for a slot of one model, and as many for a
                model to be loaded.
            log: Writes a line to the log.
            has_any_name: Whether a name that is not known means the first model.
        """
        self.entries = tuple(entries)
        self.on_eviction: Callable[[], None] = lambda: None
        self.is_stopping = False
        self._budget = budget
        self._max_waiting = max_waiting
        self._log = log
        self._has_any_name = has_any_name
        self._loaded: dict[OfferedModel, LoadedModel] = {}
        self._open: dict[OfferedModel, ExitStack] = {}
        self._loads: deque[_Load] = deque()
        self._loading: asyncio.Task[None] | None = None
        self._uses = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")

    @property
    def queues(self) -> list[RequestQueue]:
        """Return the queues of the models that are loaded."""
        return [model.queue for model in self._loaded.values()]

    @property
    def busy(self) -> int:
        """Return how many slots are generating."""
        return sum(queue.busy for queue in self.queues)

    @property
    def waiting(self) -> int:
        """Return how many requests wait for a slot, or for a model."""
        return sum(queue.waiting for queue in self.queues) + self._waiting_for_models

    @property
    def n_slots(self) -> int:
        """Return how many answers can be generated at once."""
        return sum(len(queue.slots) for queue in self.queues)

    def loaded(self, entry: OfferedModel) -> LoadedModel | None:
        """Return a model that is in memory; None if it is not."""
        return self._loaded.get(entry)

    def find(self, name: str | None) -> OfferedModel:
        """Return the model that a request means.

        Raises:
            ApiError: 404.
        """
        if name is None:
            return self.entries[0]
        for entry in self.entries:
            if entry.is_called(name):
                return entry
        if self._has_any_name:
            return self.entries[0]
        raise self._not_served(name)

    def find_file(self, fingerprint: str) -> OfferedModel:
        """Return the model of the file with that fingerprint.

        Raises:
            ApiError: 404.
        """
        for entry in self.entries:
            if entry.fingerprint == fingerprint:
                return entry
        raise ApiError(
            404, "another model is served here", code="model_not_found", param="fingerprint"
        )

    def load_first(self) -> OpenedModel:
        """Load the first model now, before the event loop runs.

        Raises:
            DslocalError: It cannot be loaded.
        """
        return self._register(self.entries[0], self._opened(self.entries[0]))

    async def lease(self, entry: OfferedModel) -> ModelLease:
        """Return the right to ``entry``, loaded. It must be released.

        Raises:
            ApiError: 429 when too many requests wait, 503 when the server is stopping.
            DslocalError: It cannot be loaded.
        """
        if self.is_stopping:
            raise stopping_error()
        model = self._loaded.get(entry)
        if model is not None and model.leaving is None:
            return self._lease(model)
        if self._waiting_for_models >= self._max_waiting:
            raise queue_full_error(self._waiting_for_models)
        turn: asyncio.Future[ModelLease] = asyncio.get_running_loop().create_future()
        waiting = self._load_for(entry).waiting
        waiting.append(turn)
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_all())
        try:
            return await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
            if turn.done() and not turn.cancelled() and not turn.exception():
                turn.result().release()  # its client left at the same moment
            raise

    async def unload(self, entry: OfferedModel) -> None:
        """Unload ``entry`` once it has finished what it answers, if it is loaded."""
        model = self._loaded.get(entry)
        if model is not None:
            await asyncio.shield(self._leave(model, "as a client asked"))

    def stop(self) -> None:
        """Take no more requests, and refuse those that wait."""
        self.is_stopping = True
        for queue in self.queues:
            queue.stop()
        for load in self._loads:
            _refuse(load, stopping_error())

    def cancel_running(self) -> None:
        """End the requests whose answers are being generated."""
        for queue in self.queues:
            queue.cancel_running()

    def close(self) -> None:
        """Unload all models, once the event loop has ended."""
        self._thread.shutdown()
        with ExitStack() as stack:  # all of them, whatever one of them raises
            for entry in self._open:
                stack.callback(self._close, entry)

    @property
    def _waiting_for_models(self) -> int:
        return sum(len(load.waiting) for load in self._loads)

    def _not_served(self, name: str) -> ApiError:
        names = ", ".join(repr(entry.name) for entry in self.entries[:MAX_LISTED_NAMES])
        if len(self.entries) > MAX_LISTED_NAMES:
            names += f" and {len(self.entries) - MAX_LISTED_NAMES} more"
        return ApiError(
            404,
            f"model {name[:MAX_SHOWN_NAME]!r} is not served here, only {names} "
            "(serve --alias NAME adds a name, and --any-name accepts every name)",
            code="model_not_found",
            param="model",
        )

    def _lease(self, model: LoadedModel) -> ModelLease:
        model.users += 1
        model.idle.clear()
        if model.expiry is not None:
            model.expiry.cancel()
            model.expiry = None
        self._note_use(model)
        return ModelLease(model, self._release)

    def _release(self, model: LoadedModel) -> None:
        model.users -= 1
        self._note_use(model)
        if model.users:
            return
        model.idle.set()
        if model.keep_s < math.inf and model.leaving is None and not self.is_stopping:
            loop = asyncio.get_running_loop()
            model.expiry = loop.call_later(model.keep_s, self._leave, model, "as a client asked")

    def _leave(self, model: LoadedModel, reason: str) -> asyncio.Task[None]:
        """Let ``model`` take no more requests, and return what unloads it."""
        if model.leaving is None:
            model.leaving = asyncio.create_task(self._unload(model, reason))
        return model.leaving

    async def _unload(self, model: LoadedModel, reason: str) -> None:
        """Unload ``model`` once it is idle.

        If that fails, it is logged: requests that wait for it are not to blame.
        """
        await model.idle.wait()
        if model.expiry is not None:
            model.expiry.cancel()
        loop = asyncio.get_running_loop()
        failure = ""
        try:
            await loop.run_in_executor(self._thread, self._close, model.entry)
        except Exception as e:
            failure = f" ({type(e).__name__}: {e})"
        finally:
            del self._loaded[model.entry]
        self._log(f"unloaded {model.entry.name}: {reason}{failure}")

    def _note_use(self, model: LoadedModel) -> None:
        self._uses += 1
        model.last_used = self._uses

    def _load_for(self, entry: OfferedModel) -> _Load:
        """Return the load of ``entry`` that is to come, or is at work."""
        for load in self._loads:
            if load.entry is entry:
                return load
        self._loads.append(_Load(entry))
        return self._loads[-1]

    async def _load_all(self) -> None:
        """Load what requests wait for, one model after the other."""
        try:
            while self._loads:
                load = self._loads[0]
                try:
                    model = await self._load(load)
                except Exception as e:
                    self._loads.popleft()
                    _refuse(load, e)
                    continue
                self._loads.popleft()
                for turn in load.waiting:
                    if not turn.done():
                        turn.set_result(self._lease(model))
        finally:
            self._loading = None

    async def _load(self, load: _Load) -> LoadedModel:
        """Return the model of ``load``, once others have made room for it."""
        entry = load.entry
        before = self._loaded.get(entry)
        if before is not None and before.leaving is not None:
            await before.leaving
        await self._make_room(entry)
        loop = asyncio.get_running_loop()
        opened = await loop.run_in_executor(self._thread, self._opened, entry)
        self._register(entry, opened)
        self._log(f"loaded {entry.name}")
        return self._loaded[entry]

    async def _make_room(self, entry: OfferedModel) -> None:
        """Unload models until ``entry`` fits, those that were not used for longest first.

        Raises:
            DslocalError: It does not fit even alone.
        """
        if not _fits([entry], self._budget):
            raise DslocalError(
                f"{entry.name} needs {binary_size(entry.need.total)}, and all models together may "
                f"take {binary_size(self._budget.total)}"
            )
        while not _fits([entry, *self._loaded], self._budget):
            oldest = min(self._loaded.values(), key=lambda model: model.last_used)
            is_evicted = oldest.leaving is None
            await self._leave(oldest, f"{entry.name} needs its memory")
            if is_evicted:
                self.on_eviction()

    def _opened(self, entry: OfferedModel) -> OpenedModel:
        stack = ExitStack()
        opened = stack.enter_context(entry.open())
        self._open[entry] = stack
        return opened

    def _close(self, entry: OfferedModel) -> None:
        self._open.pop(entry).close()

    def _register(self, entry: OfferedModel, opened: OpenedModel) -> OpenedModel:
        queue = RequestQueue(opened.slots, self._max_waiting)
        self._open[entry].callback(queue.threads.shutdown)
        queue.is_stopping = self.is_stopping
        model = LoadedModel(entry, opened, queue)
        model.idle.set()
        self._note_use(model)
        self._loaded[entry] = model
        return opened


def _fits(entries: Sequence[OfferedModel], budget: DeviceShare) -> bool:
    """Return whether all of ``entries`` may be loaded at once."""
    on_gpu = sum(entry.need.gpu for entry in entries)
    in_ram = sum(entry.need.host for entry in entries)
    return on_gpu <= budget.gpu and in_ram <= budget.host


def _refuse(load: _Load, error: Exception) -> None:
    """Fail the requests that wait for a model."""
    for turn in load.waiting:
        if not turn.done():
            turn.set_exception(error)
