"""Proves which models a server keeps loaded, and who waits for which, without any real model."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from dslocal.errors import DslocalError
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import DeviceShare
from dslocal.prompts import FAMILIES
from dslocal.server.models.model_set import ModelSet
from dslocal.server.models.offered_model import OfferedModel, OpenedModel
from dslocal.server.preparation.requests import ServedModel
from dslocal.server.wire.errors import ApiError


class World:
    """Models that take 10 bytes each, and what happened to them."""

    def __init__(self, *names: str, budget: int = 20, failing: str = "", waiting: int = 4) -> None:
        self.events: list[str] = []
        self.lines: list[str] = []
        self.failing_to_close = ""
        self.may_open = threading.Event()
        self.may_open.set()
        self.failing = failing
        self.evictions = 0
        self.models = ModelSet(
            [self._offer(name) for name in names],
            DeviceShare(0, budget),
            max_waiting=waiting,
            log=self.lines.append,
        )
        self.models.on_eviction = self._count

    def _count(self) -> None:
        self.evictions += 1

    def _offer(self, name: str) -> OfferedModel:
        @contextmanager
        def open_model() -> Iterator[OpenedModel]:
            assert self.may_open.wait(60)
            if name == self.failing:
                raise DslocalError("it is damaged")
            self.events.append(f"+{name}")
            slot: Any = object()
            yield OpenedModel(cast(ServedModel, name), [slot])
            self.events.append(f"-{name}")
            if name == self.failing_to_close:
                raise OSError("the disk is full")

        return OfferedModel(
            name=name,
            names=frozenset([name]),
            fingerprint=name,
            need=DeviceShare(0, 10),
            n_ctx=512,
            header=GgufHeader(3, {}, (), 0),
            family=FAMILIES["nano"],
            open=open_model,
        )

    async def use(self, name: str, keep_s: float | None = None) -> None:
        lease = await self.models.lease(self.models.find(name))
        if keep_s is not None:
            lease.keep_loaded(keep_s)
        lease.release()

    async def wait_for_waiting(self, count: int) -> None:
        while self.models.waiting != count:
            await asyncio.sleep(0.001)

    async def wait_for(self, *events: str) -> None:
        while self.events != list(events):
            await asyncio.sleep(0.001)


async def take_turns() -> None:
    """Let all that is due run."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(world: World, body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(body(), 60)

    asyncio.run(main())
    world.models.close()


def test_the_one_unused_for_longest_makes_room() -> None:
    world = World("a", "b", "c")

    async def body() -> None:
        for name in ("a", "b", "a", "c", "a", "b"):
            await world.use(name)

    run(world, body)
    assert world.events[:6] == ["+a", "+b", "-b", "+c", "-c", "+b"]
    assert world.evictions == 2


def test_a_model_in_use_is_unloaded_after_its_last_request() -> None:
    world = World("a", "b", budget=10)

    async def body() -> None:
        lease = await world.models.lease(world.models.find("a"))
        other = asyncio.create_task(world.use("b"))
        await asyncio.sleep(0.05)
        again = asyncio.create_task(world.use("a"))  # waits: its model makes room
        await asyncio.sleep(0.05)
        assert world.events == ["+a"]
        lease.release()
        lease.release()  # does nothing
        await other
        await again

    run(world, body)
    assert world.events[:5] == ["+a", "-a", "+b", "-b", "+a"]


@pytest.mark.parametrize("keep_s", [0.0, 0.02])
def test_a_model_is_unloaded_when_its_time_is_over(keep_s: float) -> None:
    world = World("a", "b")

    async def body() -> None:
        await world.use("b")
        await world.use("a", keep_s)
        await world.wait_for("+b", "+a", "-a")
        await world.use("a")  # what a request said holds for the model as it was loaded then
        await asyncio.sleep(0.05)

    run(world, body)
    assert world.events[:4] == ["+b", "+a", "-a", "+a"]
    assert world.evictions == 0


def test_a_request_before_its_time_is_over_keeps_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("a")

    async def body() -> None:
        loop, now = asyncio.get_running_loop(), [0.0]
        monkeypatch.setattr(loop, "time", lambda: now[0])
        await world.use("a", 60)
        lease = await world.models.lease(world.models.find("a"))
        now[0] += 100
        await take_turns()
        assert world.events == ["+a"]
        lease.keep_loaded(math.inf)
        lease.release()
        now[0] += 100
        await take_turns()
        await world.use("a")  # would wait for a model that is leaving, and load it again
        assert world.events == ["+a"]
        monkeypatch.undo()

    run(world, body)


def test_a_model_that_is_to_go_at_once_finishes_first() -> None:
    world = World("a")

    async def body() -> None:
        lease = await world.models.lease(world.models.find("a"))
        unloading = asyncio.create_task(world.models.unload(world.models.find("a")))
        again = asyncio.create_task(world.use("a"))
        await asyncio.sleep(0.02)
        assert world.events == ["+a"]
        lease.release()
        await unloading
        await again
        await world.models.unload(world.models.find("a"))
        await world.models.unload(world.models.find("a"))  # does nothing

    run(world, body)
    assert world.events == ["+a", "-a", "+a", "-a"]


def test_models_that_leave_are_not_unloaded_twice() -> None:
    world = World("a", "b", "c", budget=10, waiting=100)

    async def body() -> None:
        for _ in range(20):
            uses = [world.use(name, keep_s) for name in "abc" for keep_s in (0.0, 0.001, None)]
            await asyncio.gather(*uses)

    run(world, body)
    loaded: set[str] = set()
    for event in world.events:
        assert (event[1:] in loaded) is (event[0] == "-")
        loaded ^= {event[1:]}
        assert len(loaded) <= 1
    assert not loaded


def test_who_asks_for_a_model_being_loaded_shares_it() -> None:
    world = World("a", "b")

    async def body() -> None:
        world.may_open.clear()
        tasks = [asyncio.create_task(world.use("b")) for _ in range(3)]
        await world.wait_for_waiting(3)
        world.may_open.set()
        await asyncio.gather(*tasks)

    run(world, body)
    assert world.events == ["+b", "-b"]


def test_too_many_wait() -> None:
    world = World("a", waiting=1)

    async def body() -> None:
        world.may_open.clear()
        first = asyncio.create_task(world.use("a"))
        await world.wait_for_waiting(1)
        with pytest.raises(ApiError) as refused:
            await world.use("a")
        assert refused.value.status == 429
        world.may_open.set()
        await first

    run(world, body)


def test_who_leaves_while_waiting_holds_nothing() -> None:
    world = World("a", "b", budget=10)

    async def body() -> None:
        world.may_open.clear()
        leaving = asyncio.create_task(world.use("a"))
        await world.wait_for_waiting(1)
        leaving.cancel()
        await world.wait_for_waiting(0)  # takes no place from those who wait
        world.may_open.set()
        await world.use("b")
        await world.use("a")

    run(world, body)
    assert world.events[:4] == ["+a", "-a", "+b", "-b"]


def test_a_model_that_does_not_load_fails_its_own_requests_alone() -> None:
    world = World("a", "b", failing="a")

    async def body() -> None:
        with pytest.raises(DslocalError):
            await world.use("a")
        await world.use("b")

    run(world, body)
    assert world.events == ["+b", "-b"]


def test_an_error_of_an_unload_is_logged_and_fails_no_request() -> None:
    """Neither of those that wait for the memory, nor of those that wait for the model itself."""
    world = World("a", "b", budget=10)
    world.failing_to_close = "a"

    async def body() -> None:
        for name in "abab":
            await world.use(name)
        lease = await world.models.lease(world.models.find("a"))
        unloading = asyncio.create_task(world.models.unload(world.models.find("a")))
        again = asyncio.create_task(world.use("a"))
        await asyncio.sleep(0.02)
        lease.release()
        await unloading
        await again
        await world.use("b")

    run(world, body)
    assert world.events == ["+a", "-a", "+b", "-b"] * 2 + ["+a", "-a"] * 2 + ["+b", "-b"]
    assert sum("unloaded a" in line and "the disk is full" in line for line in world.lines) == 4


def test_at_the_end_all_are_unloaded_whatever_one_of_them_raises() -> None:
    world = World("a", "b", "c", budget=30)
    world.failing_to_close = "b"

    async def body() -> None:
        for name in "abc":
            await world.use(name)

    with pytest.raises(OSError, match="the disk is full"):
        run(world, body)
    assert sorted(world.events) == ["+a", "+b", "+c", "-a", "-b", "-c"]


def test_a_model_beyond_the_budget_is_refused() -> None:
    world = World("a", budget=9)

    async def body() -> None:
        with pytest.raises(DslocalError):
            await world.use("a")

    run(world, body)


def test_a_stop_refuses_who_waits_and_who_comes() -> None:
    world = World("a")

    async def body() -> None:
        world.may_open.clear()
        waiting = asyncio.create_task(world.use("a"))
        await world.wait_for_waiting(1)
        world.models.stop()
        for asked in (waiting, asyncio.create_task(world.use("a"))):
            with pytest.raises(ApiError) as refused:
                await asked
            assert refused.value.status == 503
        world.may_open.set()

    run(world, body)


def test_names() -> None:
    models = World("a", "b").models
    assert models.find(None).name == "a"
    assert models.find("b").name == models.find_file("b").name == "b"
    for find in (models.find, models.find_file):
        with pytest.raises(ApiError) as refused:
            find("c")
        assert refused.value.status == 404
