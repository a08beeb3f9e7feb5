"""Say which setting of the environment keeps the hub from being reached, and what would help."""

from __future__ import annotations

import pytest
from support.cli.running import Run

CLOSED = "127.0.0.1:9"  # nobody listens there
HUB = f"http://{CLOSED}"
# Variables, and what the message says of them.
FAULTS = [
    ({"ALL_PROXY": f"socks5://{CLOSED}"}, "ALL_PROXY is a SOCKS proxy", "pip install socksio"),
    ({"all_proxy": f"socks5h://{CLOSED}"}, "all_proxy is a SOCKS proxy", "pip install socksio"),
    ({"HTTP_PROXY": f"socks5://{CLOSED}"}, "HTTP_PROXY is a SOCKS proxy", "pip install socksio"),
    ({"ALL_PROXY": f"socks4://{CLOSED}"}, "socks4 is not supported", "socks5://HOST:PORT"),
    ({"ALL_PROXY": f"socks://{CLOSED}"}, "socks is not supported", "socks5://HOST:PORT"),
    ({"HTTPS_PROXY": f"ftp://{CLOSED}"}, "ftp is not supported", "http://HOST:PORT"),
    ({"HTTP_PROXY": "http://127.0.0.1:abc"}, "HTTP_PROXY is", "is not a proxy"),
    ({"HTTP_PROXY": "://"}, "HTTP_PROXY is", "http://HOST:PORT"),
    ({"HTTP_PROXY": HUB}, "no connection to the proxy of HTTP_PROXY", "NO_PROXY"),
    ({"http_proxy": CLOSED}, "no connection to the proxy of http_proxy", "NO_PROXY"),
    ({"HTTP_PROXY": f"http://me:secret@{CLOSED}"}, "http://…@127.0.0.1:9", "NO_PROXY"),
    ({"HF_ENDPOINT": "hf-mirror.com"}, "HF_ENDPOINT is 'hf-mirror.com'", "https://hf-mirror.com"),
    ({"HF_ENDPOINT": "http://["}, "HF_ENDPOINT is 'http://[', which", "https://hf-mirror.com"),
    ({"HF_HUB_OFFLINE": "1"}, "is not on this machine", "HF_HUB_OFFLINE is set"),
    ({}, "no connection: ", "check the network"),
]


@pytest.mark.parametrize(("env", "said", "hint"), FAULTS, ids=[str(row[0]) for row in FAULTS])
def test_the_setting_at_fault(run: Run, env: dict[str, str], said: str, hint: str) -> None:
    base = {"HF_ENDPOINT": "http://hub.invalid", "HF_HOME": str(run.home / "hf"), "NO_PROXY": ""}
    done = run("pull", "owner/name", "--yes", env={**base, **env})
    text = done.stderr.decode()
    assert done.returncode == 1
    assert said in text
    assert hint in text
    assert "secret" not in text
    assert "continues from there" not in text


NO_HOMES = ["DSLOCAL_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"]


@pytest.mark.parametrize("variable", NO_HOMES)
def test_the_home_of_nobody(run: Run, variable: str) -> None:
    done = run.inside("models", env={variable: "~nobody-at-all/x"})
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (2, 1)
    assert f"{variable} is '~nobody-at-all/x', and no home of that user is known" in said


@pytest.mark.parametrize("command", ["pull", "convert", "fit", "import", "show", "rm"])
def test_a_malformed_address(run: Run, command: str) -> None:
    done = run.inside(command, "http://[")
    said = done.stderr.decode()
    assert done.returncode in (2, 3)
    assert said.count("\n") == 1
    assert "unexpected" not in said
    assert "'http://['" in said


def test_no_proxy_is_heeded(run: Run) -> None:
    env = {"HF_ENDPOINT": HUB, "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
    text = run("pull", "owner/name", "--yes", env=env).stderr.decode()
    assert "no connection: " in text
    assert "HTTP_PROXY" not in text


OFFLINE = [
    (["deepseek-r1:7b"], "DeepSeek-R1-Distill-Qwen-7B", "dslocal import "),
    (["r1:7b", "--quant", "Q4_K_M"], "DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf", "about 4.7 GB"),
    (["deepseek-r1-distill-qwen-7b:Q2_K"], "DeepSeek-R1-Distill-Qwen-7B-Q2_K.gguf", "one file"),
]


@pytest.mark.parametrize(("args", "file", "more"), OFFLINE, ids=[row[0][0] for row in OFFLINE])
def test_pull_says_what_it_would_fetch(run: Run, args: list[str], file: str, more: str) -> None:
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(run.home / "hf")}
    done = run("pull", *args, "--dry-run", env=env)
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "https://huggingface.co/" in text
    assert file in text
    assert more in text
    assert "on another machine, bring" in text
    refused = run("pull", *args, "--yes", env=env)
    assert refused.returncode == 1
    assert file in refused.stderr.decode()
