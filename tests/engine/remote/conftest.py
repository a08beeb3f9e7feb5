"""What these tests share: a fake engine with nano's vocabulary, and contexts there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.engines.fake_engine import N_CTX, FakeEngine

from dslocal.engine import LlamaModel
from dslocal.engine.remote import EngineConnection, RemoteContext, engine_address, find_engine

OpenContext = Callable[..., RemoteContext]
KINDS = ("vllm", "sglang", "llamacpp")


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, model: LlamaModel) -> Iterator[FakeEngine]:
    """An engine of each kind."""
    with FakeEngine(model, request.param) as fake:
        yield fake


@pytest.fixture
def vllm(model: LlamaModel) -> Iterator[FakeEngine]:
    """One engine, where its kind does not matter."""
    with FakeEngine(model) as fake:
        yield fake


@pytest.fixture
def notes() -> list[str]:
    """The notices that a user sees."""
    return []


@pytest.fixture
def open_context(model: LlamaModel, notes: list[str]) -> Iterator[OpenContext]:
    """Opens contexts at engines."""
    with ExitStack() as stack:

        def open_at(fake: FakeEngine, **more: Any) -> RemoteContext:
            connection = stack.enter_context(EngineConnection(engine_address(fake.url, **more)))
            found = find_engine(connection)
            return RemoteContext(found, connection, model, N_CTX, notes.append)

        yield open_at
