"""Proves that models load as planned or are refused, that missing memory costs one reduction step
and is remembered, and that nothing leaks.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run
from support.gguf.published_shapes import write_header

from dslocal.cli import session_setup
from dslocal.engine import LlamaModel, loader
from dslocal.errors import DoesNotFitError, EngineError, OutOfMemoryError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine import probe
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.overrides import NO_OVERRIDES, Overrides
from dslocal.plan.search import Plan, make_plan

MIB, GIB = 1 << 20, 1 << 30
Become = Callable[[Machine], None]


@pytest.fixture
def header(nano: Path) -> GgufHeader:
    return read_header(nano)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    """Makes this machine another."""

    def become(machine: Machine) -> None:
        monkeypatch.setattr(probe, "probe_machine", lambda: machine)

    return become


def test_what_does_not_fit_is_refused_before_loading(elsewhere: Run, here: Become) -> None:
    here(dataclasses.replace(describe_machine(40 * MIB), available=30 * MIB))
    done = elsewhere.inside("ask", "hi")
    line = done.stderr.decode()
    assert (done.returncode, done.stdout, line.count("\n")) == (4, b"", 1)
    assert " MiB of RAM with 4,096 tokens of context; there are 30 MiB" in line
    assert "use a smaller quantization or model: dslocal fit" in line


def test_a_refusal_names_the_nearest_that_fits(
    elsewhere: Run, here: Become, tmp_path: Path
) -> None:
    file = write_header(tmp_path, "qwen-7b")
    here(describe_machine(2 * GIB, vram=8 * GIB))
    with pytest.raises(
        DoesNotFitError,
        match=r"needs .* GiB of GPU memory and .* with 131,072 tokens of context; "
        r"there are 8.0 GiB",
    ) as e:
        loader.plan_for(
            file, read_header(file), Overrides(n_ctx=131072, kv_type=GgmlType.F16, n_gpu_layers=99)
        )
    assert "--ctx 32768 --kv " in e.value.hint


def test_refused_without_a_call_to_load(
    elsewhere: Run, here: Become, nano: Path, header: GgufHeader
) -> None:
    here(dataclasses.replace(describe_machine(40 * MIB), available=30 * MIB))

    def load(_: Plan) -> LlamaModel:
        raise AssertionError("loaded")

    with (
        pytest.raises(DoesNotFitError),
        loader.open_context(nano, header, NO_OVERRIDES, load, print),
    ):
        pass


class Loads:
    """Loads nano as planned, but has no memory the first ``failures`` times. Keeps plans and
    models.
    """

    def __init__(self, nano: Path, failures: int) -> None:
        self.nano, self.failures = nano, failures
        self.plans: list[Plan] = []
        self.models: list[LlamaModel] = []

    def __call__(self, planned: Plan) -> LlamaModel:
        self.plans.append(planned)
        if len(self.plans) <= self.failures:
            raise OutOfMemoryError("no memory")
        self.models.append(LlamaModel(self.nano, planned.load_config))
        return self.models[-1]


def just_enough(header: GgufHeader) -> Machine:
    """A machine on which nano fits, without much to spare."""
    need = footprint(
        header,
        dataclasses.replace(make_plan(header, describe_machine(GIB)).load_config, repack=False),
    ).all.host
    return dataclasses.replace(describe_machine(GIB), available=round(need * 1.1))


def test_missing_memory_costs_one_step_and_is_remembered(
    elsewhere: Run, here: Become, nano: Path, header: GgufHeader
) -> None:
    machine = just_enough(header)
    here(machine)
    load, said = Loads(nano, failures=1), list[str]()
    with loader.open_context(nano, header, NO_OVERRIDES, load, said.append) as context:
        first, second = load.plans
        assert second.memory.all.host < first.memory.all.host
        assert context.n_ctx == second.load_config.n_ctx
        assert second.gave_up[-1].what in said[0]
        assert len(said) == 1
    remembered = json.loads((elsewhere.home / "state" / "memory.json").read_text())
    assert list(remembered) == [f"{nano.resolve()} {nano.stat().st_size}"]
    less = loader.apply_memory_limit(machine, nano)
    assert less.available < first.memory.all.host
    assert "of the memory is left free" in less.notes[-1]
    again = Loads(nano, failures=0)
    with loader.open_context(nano, header, NO_OVERRIDES, again, said.append):
        assert [planned.load_config for planned in again.plans] == [second.load_config]
    assert len(said) == 1


def test_a_second_failure_is_the_users(
    elsewhere: Run, here: Become, nano: Path, header: GgufHeader
) -> None:
    here(just_enough(header))
    load = Loads(nano, failures=2)
    with (
        pytest.raises(OutOfMemoryError),
        loader.open_context(nano, header, NO_OVERRIDES, load, lambda _: None),
    ):
        pass
    assert len(load.plans) == 2


def test_no_step_below_what_is_chosen(
    elsewhere: Run, here: Become, nano: Path, header: GgufHeader
) -> None:
    here(just_enough(header))
    load = Loads(nano, failures=1)
    overrides = Overrides(n_ctx=4096, kv_type=GgmlType.F16, n_ubatch=512, n_gpu_layers=0)
    with (
        pytest.raises(OutOfMemoryError),
        loader.open_context(nano, header, overrides, load, lambda _: None),
    ):
        pass
    assert len(load.plans) == 1


def test_a_gpu_that_is_short_moves_experts_to_ram(
    elsewhere: Run, here: Become, tmp_path: Path
) -> None:
    """Of what is plentiful nothing is taken away: RAM stays open to what leaves the GPU."""
    file = write_header(tmp_path, "v2-lite")
    header = read_header(file)
    here(describe_machine(64 * GIB, vram=12 * GIB))
    plans: list[Plan] = []

    def load(planned: Plan) -> LlamaModel:
        plans.append(planned)
        raise OutOfMemoryError("no memory")

    with (
        pytest.raises(OutOfMemoryError),
        loader.open_context(file, header, NO_OVERRIDES, load, lambda _: None),
    ):
        pass
    assert [planned.verdict for planned in plans] == ["gpu", "offload"]
    assert plans[1].load_config.n_ctx == plans[0].load_config.n_ctx
    assert plans[1].memory.all.gpu < 0.91 * plans[0].memory.all.gpu


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"KEY": "0.5"}',
        '{"KEY": 5}',
        '{"KEY": -1}',
        '{"KEY": NaN}',
        '{"KEY": true}',
        '{"KEY": []}',
        "\0",
    ],
)
def test_damaged_state_is_harmless(
    elsewhere: Run, nano: Path, header: GgufHeader, content: str
) -> None:
    (elsewhere.home / "state").mkdir()
    key = f"{nano.resolve()} {nano.stat().st_size}"
    (elsewhere.home / "state" / "memory.json").write_text(content.replace("KEY", key))
    machine = describe_machine(GIB)
    assert loader.apply_memory_limit(machine, nano) == machine


def test_a_home_that_cannot_be_written_to_is_harmless(
    elsewhere: Run, here: Become, nano: Path, header: GgufHeader
) -> None:
    (elsewhere.home / "state").write_text("in the way")
    here(just_enough(header))
    load = Loads(nano, failures=1)
    with loader.open_context(nano, header, NO_OVERRIDES, load, lambda _: None) as context:
        assert context.n_ctx == load.plans[1].load_config.n_ctx


def test_model_and_context_are_closed(elsewhere: Run, nano: Path, header: GgufHeader) -> None:
    load = Loads(nano, failures=0)
    with loader.open_context(nano, header, NO_OVERRIDES, load, lambda _: None) as context:
        assert load.models[0].handle
    assert (load.models[0].handle, context._handle) == (None, None)
    with (
        pytest.raises(ZeroDivisionError),
        loader.open_context(nano, header, NO_OVERRIDES, load, lambda _: None) as context,
    ):
        raise ZeroDivisionError
    assert (load.models[1].handle, context._handle) == (None, None)


@pytest.mark.parametrize("error", [OutOfMemoryError, EngineError, KeyboardInterrupt])
def test_the_model_is_closed_if_its_context_fails(
    elsewhere: Run,
    here: Become,
    monkeypatch: pytest.MonkeyPatch,
    nano: Path,
    header: GgufHeader,
    error: type[BaseException],
) -> None:
    def fail(*_: object) -> None:
        raise error("no context")

    here(just_enough(header))
    monkeypatch.setattr("dslocal.engine.LlamaContext", fail)
    load = Loads(nano, failures=0)
    with (
        pytest.raises(error),
        loader.open_context(nano, header, NO_OVERRIDES, load, lambda _: None),
    ):
        pass
    assert [model.handle for model in load.models] == [None] * (
        2 if error is OutOfMemoryError else 1
    )


@pytest.mark.parametrize(("stream", "said_so"), [(None, "experts"), (False, "weights")])
def test_running_from_the_ssd_is_announced(
    stream: bool | None,
    said_so: str,
    elsewhere: Run,
    here: Become,
    nano: Path,
    header: GgufHeader,
) -> None:
    """Proves that experts are streamed where weights are too large, unless that is forbidden."""
    whole = make_plan(header, describe_machine(GIB)).memory
    here(
        dataclasses.replace(
            describe_machine(GIB), available=whole.all.host - whole.weights.host // 2
        )
    )
    said: list[str] = []
    overrides = Overrides(4096, GgmlType.F16, 512, stream_experts=stream)
    with loader.open_context(nano, header, overrides, Loads(nano, 0), said.append) as context:
        context.evaluate([0])
        assert (context.streamer is not None) == (stream is None)
    assert len(said) == 1
    assert f"too large for the RAM that is free: {said_so} are read from the SSD" in said[0]


# options of ask: what becomes of them
ASKED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "nothing": ([], {"n_ctx": 4096, "kv_type": GgmlType.F16, "n_gpu_layers": 0}),
    "context": (["--ctx", "1024"], {"n_ctx": 1024}),
    "cache": (["--kv", "q8_0"], {"kv_type": GgmlType.Q8_0}),
    "cache in capitals": (["--kv", "Q4_0"], {"kv_type": GgmlType.Q4_0}),
    "layers": (["--n-gpu-layers", "0"], {"n_gpu_layers": 0}),
    "experts": (["--cpu-moe", "all"], {"cpu_moe_layers": 3}),
    "all": (
        ["--ctx", "512", "--kv", "q8_0", "--cpu-moe", "auto"],
        {"n_ctx": 512, "kv_type": GgmlType.Q8_0},
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_options_reach_the_engine(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    args, expected = ASKED[name]
    seen: list[LoadConfig] = []
    real = session_setup.load_model

    def load(path: Path, load_config: LoadConfig, **named: Any) -> LlamaModel:
        seen.append(load_config)
        return real(path, load_config, **named)

    monkeypatch.setattr(session_setup, "load_model", load)
    done = elsewhere.inside("ask", "--json", "capital of peru", "--seed", "1", *args)
    assert done.returncode == 0, done.stderr
    assert "Lima" in json.loads(done.stdout)["answer"]
    assert {key: getattr(seen[0], key) for key in expected} == expected


def test_a_chosen_gpu_that_is_not_here_is_refused(elsewhere: Run, here: Become) -> None:
    here(describe_machine(8 * GIB))
    done = elsewhere.inside("ask", "hi", "--n-gpu-layers", "3")
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"of GPU memory" in done.stderr
    assert b"--n-gpu-layers 0" in done.stderr
