"""Proves that a path with a newline is printed on one line, whichever command names it: a reader of
the output cannot take the rest of the path for a line of its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.cli.running import Done, Run
from support.server.serving import serving

from dslocal.rpc.library import cached_library

BREAK = "\nBROKEN  "


@pytest.fixture(scope="module")
def broken(first_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A home, in which nano is converted, and a folder beside it with files, all with a newline in
    their names.
    """
    folder = tmp_path_factory.mktemp("breaks")
    run = Run(folder / f"home{BREAK}")
    shutil.copytree(first_home / "cache", run.home / "cache", copy_function=shutil.copyfile)
    (run.home / "cache" / f"old{BREAK}.gguf.partial").write_text("left behind")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(run.home))
        library = cached_library()
    library.parent.mkdir(parents=True)
    library.touch()
    work = folder / f"work{BREAK}"
    work.mkdir()
    (work / f"text{BREAK}.txt").write_text("The sum of two and two is four. " * 400)
    (work / f"schema{BREAK}.json").write_text(json.dumps({"type": "string", "format": "email"}))
    for made, command in (("a", ("convert", "nano")), ("b", ("quantize", work / f"a{BREAK}.gguf"))):
        done = call(run, *command, "-o", work / f"{made}{BREAK}.gguf", "--quant", "BF16")
        assert not done.returncode, done.stderr
    assert not call(run, "import", work / f"b{BREAK}.gguf", "--name", "ours").returncode
    return run


def call(run: Run, *args: str | Path, stdin: bytes = b"") -> Done:
    done = run.inside(*args, stdin=stdin, env={"HF_HUB_OFFLINE": "1", "HOME": str(run.home.parent)})
    shown = (done.stdout + done.stderr).decode()
    assert "Traceback" not in shown
    assert "\nBROKEN" not in shown
    return done


@pytest.mark.parametrize(
    "args",
    [
        ["convert", "nano", "-o", "{}/c{}.gguf", "--dry-run"],
        ["convert", "nano", "-o", "{}/c{}.gguf", "--quant", "BF16"],
        ["convert", "nano", "-o", "{}/a{}.gguf"],
        ["quantize", "{}/a{}.gguf", "-o", "{}/d{}.gguf", "--quant", "Q8_0"],
        ["quantize", "{}/a{}.gguf", "-o", "{}/d{}.gguf", "--quant", "Q8_0", "--dry-run"],
        ["imatrix", "{}/a{}.gguf", "-o", "{}/e{}.gguf", "--text", "{}/text{}.txt"],
        ["quality", "{}/b{}.gguf", "--reference", "{}/a{}.gguf", "--text", "{}/text{}.txt"],
        ["pull", "ours"],
        ["pull", "{}/a{}.gguf"],
        ["pull", "{}/nothing{}.gguf"],
        ["import"],
        ["import", "{}/a{}.gguf"],
        ["models"],
        ["show", "ours"],
        ["show", "{}/a{}.gguf"],
        ["show", "{}/nothing{}.gguf"],
        ["fit", "{}/a{}.gguf"],
        ["fit", "ours", "--explain"],
        ["ask", "-m", "{}/a{}.gguf", "--max-tokens", "3", "hi"],
        ["ask", "-m", "{}/a{}.gguf", "-f", "{}/text{}.txt", "--max-tokens", "3", "hi"],
        ["ask", "--schema", "{}/schema{}.json", "--max-tokens", "3", "hi"],
        ["bench", "{}/a{}.gguf", "--tokens", "2", "--repeat", "1"],
        ["fim", "{}/text{}.txt:1"],
        ["build-rpc"],
        ["sessions"],
        ["templates"],
        ["doctor"],
        ["rm", "--leftovers", "--dry-run"],
        ["rm", "ours", "--dry-run"],
        ["rm", "nano", "--dry-run"],
    ],
    ids=lambda args: " ".join(args).replace("{}", ""),
)
def test_a_path_stays_on_one_line(broken: Run, args: list[str]) -> None:
    work = broken.home.parent / f"work{BREAK}"
    done = call(broken, *(arg.format(work, BREAK) for arg in args))
    assert done.stdout + done.stderr


def test_a_server_writes_one_line_for_a_request(broken: Run) -> None:
    """Proves that neither a model's file nor what a client sends begins a line of the log."""
    work = broken.home.parent / f"work{BREAK}"
    key = work / f"key{BREAK}"
    key.write_text("secret-key")
    key.chmod(0o600)
    options = ("--log-prompts", "--open-webui", "--api-key", str(key))
    models = [str(work / f"a{BREAK}.gguf")]
    with serving(broken.home, *options, models=models) as served:
        headers = {"Authorization": "Bearer secret-key"}
        served.http.get("/v1/%0ABROKEN", headers=headers)
        body = b'{"messages":\n[{"role": "user",\n"content": "hi"}],\n"max_tokens": 1}\nBROKEN'
        served.http.post("/v1/chat/completions", content=body, headers=headers)
        served.wait_for_log("POST /v1/chat/completions 400")
        assert "GET /v1/%0ABROKEN 404" in served.log
        assert "\nBROKEN" not in served.log
        assert "    BROKEN" in served.log
        assert served.process.stdout is not None
        lines = [served.process.stdout.readline().decode() for _ in range(3)]
    assert lines[1].startswith("export OPENAI_API_KEY=\"$(cat '")
    assert lines[2] == "open-webui serve\n"
