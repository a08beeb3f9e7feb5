"""Proves what the command line says of workers: how to get them, and what is wrong with one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.cli.running import Run
from support.rpc.fake_server import CARD, Script, fake_worker
from support.terminal.calculator import assert_right

from dslocal.rpc.identity import own_identity
from dslocal.rpc.library import BUILD_COMMAND, library_name


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A home of its own, with nano and no library."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").mkdir()
    (home / "cache" / "converted").symlink_to(run.home / "cache" / "converted")
    return Run(home)


@pytest.fixture
def with_library(own: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with a file in the library's place, which no test here opens."""
    from dslocal.rpc import library

    with monkeypatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(own.home))
        file = library.cached_library()
    file.parent.mkdir(parents=True)
    file.touch()
    return own


COMMANDS = {
    "ask": ["hello"],
    "eval": ["problems.jsonl"],
    "fit": ["nano"],
    "bench": [],
    "serve": ["--port", "0"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_library_one_line_says_the_command(own: Run, command: str) -> None:
    (own.home / "problems.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    done = own(command, *COMMANDS[command], "--rpc", "10.0.0.2:50052")
    assert done.returncode == 2, done.stderr
    assert f"({BUILD_COMMAND} ".encode() in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["ask", "chat", "fim", "eval", "bench", "serve", "fit"])
def test_every_command_that_loads_a_model_takes_workers(own: Run, command: str) -> None:
    assert b"--rpc" in own.inside(command, "--help").stdout


def test_the_environment_and_the_file_name_workers_too(own: Run) -> None:
    for env, config in (({"DSLOCAL_RPC": "10.0.0.2"}, ""), ({}, 'rpc = ["10.0.0.2:50052"]\n')):
        (own.home / "config").mkdir(exist_ok=True)
        (own.home / "config" / "config.toml").write_text(config)
        done = own("ask", "hello", env=env)
        assert done.returncode == 2
        assert BUILD_COMMAND.encode() in done.stderr


def test_an_empty_option_takes_the_workers_of_the_settings_away(own: Run) -> None:
    done = own("ask", "hello", "--rpc", "", env={"DSLOCAL_RPC": "10.0.0.2"})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [",", "a:b", "::1", "a,a"])
def test_what_names_no_machine_is_refused(own: Run, text: str) -> None:
    done = own.inside("ask", "hello", "--rpc", text)
    assert done.returncode == 2
    assert done.stderr.startswith(b"dslocal: --rpc: ")


def test_a_worker_of_another_llama_cpp_is_refused_by_name(with_library: Run) -> None:
    with fake_worker() as worker:
        done = with_library("ask", "hello", "--rpc", str(worker.endpoint))
    line = done.stderr.decode().strip()
    assert done.returncode == 1
    assert line.startswith(f"dslocal: {worker.endpoint}: runs another llama.cpp")
    assert "this machine alone holds the model" in line  # what fits now


def test_the_protocol_of_another_version_is_refused(with_library: Run) -> None:
    card = replace(CARD, identity=own_identity())
    with fake_worker(Script(version=(6, 0, 0), card=card)) as worker:
        done = with_library("ask", "hello", "--rpc", str(worker.endpoint))
    assert done.returncode == 1
    assert b"version 6.0.0" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("0.0.0.0", "every network"),
        ("8.8.8.8", "the internet"),
        ("no.invalid", "not an IPv4 address"),
    ],
)
def test_a_worker_listens_to_private_addresses_alone(own: Run, host: str, said: str) -> None:
    done = own.inside("worker", "--host", host)
    assert done.returncode == 2
    assert said.encode() in done.stderr


def test_a_worker_asks_for_its_address_and_for_the_library(own: Run) -> None:
    assert own.inside("worker").returncode == 2
    done = own.inside("worker", "--host", "127.0.0.1")
    assert done.returncode == 2
    assert BUILD_COMMAND.encode() in done.stderr


@pytest.mark.parametrize("port", ["0", "65535", "-1"])
def test_a_worker_takes_two_ports(own: Run, port: str) -> None:
    done = own.inside("worker", "--host", "127.0.0.1", "--port", port)
    assert (done.returncode, b"--port" in done.stderr) == (2, True)


def test_the_doctor_shows_the_library(own: Run, with_library: Run) -> None:
    shown = json.loads(with_library("doctor", "--json").stdout)
    assert shown["llama.cpp"]["rpc"].endswith(library_name())
    for file in (own.home / "cache" / "rpc").rglob("*.*"):
        if file.is_file():
            file.unlink()
    assert BUILD_COMMAND.encode() in own("doctor").stdout


def test_machines_are_planned_for_by_the_command_line(own: Run) -> None:
    file = own.home / "m.yaml"
    file.write_text("machines:\n  - name: node\n    count: 2\n    ram: 2TB\n    gpus: 8x H200\n")
    found = json.loads(own.inside("fit", "deepseek-r1", "--machines", str(file), "--json").stdout)
    assert found["machines"] == ["node-1", "node-2"]
    assert found["gpu_engines"]["fits"]
    shown = own.inside("fit", "deepseek-r1", "--machines", str(file)).stdout.decode()
    for host in ("node-1", "node-2"):
        assert f"{host}$ vllm serve deepseek-ai/DeepSeek-R1 " in shown
    assert shown.count("8 × H200 with ") == 2
    assert own.inside("fit", "--machines", str(file)).returncode == 2


SEVERAL = """
machines:
  - {name: mac, count: 2, chip: M4 Max, ram: 128GB, link_gbit: 10, latency_ms: 0.2}
  - {name: pc, ram: 64GB, cpu: Ryzen 9 7950X}
"""
ONE_IS_ENOUGH = "machines:\n  - {name: node, count: 2, ram: 2TB, gpus: 8x H200}\n"
SMALL_GPUS = "machines:\n  - {name: node, count: 2, ram: 64GB, gpus: RTX 4090}\n"


@pytest.mark.parametrize(
    ("model", "machines"),
    [
        ("deepseek-v2", SEVERAL),
        ("deepseek-v4-flash", SEVERAL),
        ("deepseek-r1-distill-llama-70b", SMALL_GPUS),
        ("deepseek-r1", ONE_IS_ENOUGH),
        ("deepseek-r1", SMALL_GPUS),
    ],
)
def test_the_arithmetic_for_several_machines_is_right(own: Run, model: str, machines: str) -> None:
    """Proves that a calculator gets every figure, and the two ends of the forecast."""
    file = own.home / "m.yaml"
    file.write_text(machines)
    found = json.loads(own.inside("fit", model, "--machines", str(file), "--json").stdout)["rpc"]
    lines = own.inside("fit", model, "--machines", str(file)).stdout.decode().splitlines()
    printed = [line for line in lines if " = " in line]
    for line in printed:
        assert_right(line)
    ends = [line.rpartition(" = ")[2] for line in printed if "tokens/s" in line and "1 / " in line]
    speed = found["tokens_per_s"]
    if found["fits"]:
        assert [float(end.split()[0]) for end in ends] == pytest.approx(
            [speed["low"], speed["high"]], rel=1e-3, abs=0.005
        )
    else:
        assert ends == []
