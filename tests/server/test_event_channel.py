"""Proves that reports reach the event loop whole and in order, and wake it once for all slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from support.engine.speculation import generate, prompt_ids

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.slots.slot_pool import SlotPool
from dslocal.plan.load_config import LoadConfig
from dslocal.server.exchange.event_channel import EventChannel, LoopCalls, Report, Signal

SEVERAL = LoadConfig(512, n_seq=4, n_outputs=4)


def report(number: int) -> Report:
    return cast(Report, number)  # what it is does not matter to a channel


async def all_of(channel: EventChannel) -> list[Any]:
    """The reports of a channel until its thread has finished."""
    found: list[Any] = []
    while Signal.FINISHED not in found:
        found += await asyncio.wait_for(channel.receive(), 60)
    return found[:-1]


def test_slots_wake_the_loop_once_for_all(
    model: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of four answers reports 30 tokens, and all of them together wake the loop once a step at
    most.
    """
    tokens, wakes = 30, 0

    async def body(pool: SlotPool) -> list[list[Any]]:
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe

        def counted(function: Callable[..., object], *args: Any, **kwargs: Any) -> asyncio.Handle:
            nonlocal wakes
            wakes += 1
            return call(function, *args, **kwargs)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        calls = LoopCalls(loop, pool.slots)
        channels = [EventChannel(calls) for _ in pool.slots]

        def job(number: int) -> Callable[[], None]:
            def work() -> None:
                slot, channel = pool.slots[number], channels[number]
                for each in range(tokens):
                    generate(slot, prompt_ids(model), max_tokens=1)
                    channel.send(report(each))
                channel.send(Signal.FINISHED)

            return work

        for number, slot in enumerate(pool.slots):
            slot.run(job(number))
        return await asyncio.gather(*map(all_of, channels))

    with LlamaContext(model, SEVERAL) as host, SlotPool(host) as pool:
        found = asyncio.run(body(pool))
        steps = pool.steps
    assert found == [list(range(tokens))] * 4
    assert wakes <= steps + 1 < 2 * tokens


def test_a_job_that_fails_before_any_step_is_heard_of(model: LlamaModel) -> None:
    async def body(pool: SlotPool) -> list[Any]:
        channel = EventChannel(LoopCalls(asyncio.get_running_loop(), pool.slots))
        pool.slots[0].run(lambda: channel.send(Signal.FINISHED))
        return await all_of(channel)

    with LlamaContext(model, SEVERAL) as host, SlotPool(host) as pool:
        assert asyncio.run(body(pool)) == []


def test_a_thread_of_its_own_reports_at_once() -> None:
    async def body() -> list[Any]:
        contexts: list[Any] = [object()]  # what is no slot has no steps to wait for
        channel = EventChannel(LoopCalls(asyncio.get_running_loop(), contexts))

        def work() -> None:
            for number in range(100):
                channel.send(report(number))
            channel.send(Signal.FINISHED)

        with ThreadPoolExecutor(1) as threads:
            threads.submit(work)
            return await all_of(channel)

    assert asyncio.run(body()) == list(range(100))


def test_reports_after_the_loop_has_ended_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    contexts: list[Any] = [object()]
    channel = EventChannel(LoopCalls(loop, contexts))
    loop.close()
    channel.send(report(1))
    channel.call(lambda: None)
