"""Plans kept to: models in cgroups of 2, 4 and 8 GiB, near the limit, and one that is larger than
its cgroup, from the SSD.

    python tests/benchmarks/fit_cgroups.py [FOLDER]

For every cgroup a random V3-shaped mixture of experts in Q8_0 that fits it by plan, each run in
three settings to its end; the same with a context that cannot fit, which must be refused; and the
largest in the cgroup that is half its size, where the forecast of ``dslocal fit`` is compared with
the speed measured. Models are kept in FOLDER, to be used again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.machines.cgroup_limit import confined, kills
from v3_shape import converted_v3_shape

BINARY = str(Path(sysconfig.get_path("scripts")) / "dslocal")
GIB = 1 << 30
SIZES = {2: 1.2, 4: 3.0, 8: 6.6}  # GiB of a cgroup: GB of weights that just fit it
SETTINGS: tuple[list[str], ...] = ([], ["--ctx", "1024"], ["--ctx", "4096", "--kv", "q8_0"])
QUESTION = ["--temperature", "0", "--no-math", "--family", "r1", "--json", "hi"]


def model(folder: Path, gigabytes: float) -> Path:
    return converted_v3_shape(folder / f"moe-{gigabytes}.gguf", gigabytes)


def wide(folder: Path) -> Path:
    """A small dense model whose cache is large: 32 KiB a token, 131,072 tokens."""
    out = folder / "wide.gguf"
    if not out.exists():
        with tempfile.TemporaryDirectory(dir=folder) as source:
            heads: dict[str, Any] = {
                "hidden_size": 1024,
                "num_attention_heads": 16,
                "num_key_value_heads": 16,
            }
            write_checkpoint(
                Path(source), "llama", num_hidden_layers=8, max_position_embeddings=131072, **heads
            )
            subprocess.run(
                [BINARY, "convert", source, "-o", str(out), "--quant", "Q8_0"], check=True
            )
    return out


def run(prefix: list[str], *args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*prefix, BINARY, *args], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    models = {gib: model(folder, size) for gib, size in SIZES.items()}
    refused = wide(folder)
    run([], "fit", "nano")  # measures the machine, outside of any limit
    done = 0
    print(
        "| cgroup | model | settings | verdict | planned MiB | exit | killed"
        " |\n|---|---|---|---|---|---|---|"
    )
    for gib, file in models.items():
        with confined(gib * GIB) as prefix:
            for settings in SETTINGS:
                planned = json.loads(run(prefix, "fit", str(file), "--json", *settings).stdout)
                asked = run(
                    prefix, "ask", "-m", str(file), "--max-tokens", "8", *settings, *QUESTION
                )
                finished = (
                    asked.returncode in (0, 5)
                    and json.loads(asked.stdout)["usage"]["completion_tokens"] > 0
                )
                done += finished and planned["verdict"] == "cpu" and not kills(prefix)
                row: list[object] = [
                    f"{gib} GiB",
                    file.name,
                    " ".join(settings),
                    planned["verdict"],
                ]
                row += [f"{planned['memory']['total'] >> 20:,}", asked.returncode, kills(prefix)]
                print("|", " | ".join(map(str, row)), "|", flush=True)
            too_much = run(
                prefix,
                "ask",
                "-m",
                str(refused),
                "--ctx",
                "131072",
                "--kv",
                "f16",
                "--family",
                "llm",
                "hi",
            )
            row = [
                f"{gib} GiB",
                refused.name,
                "--ctx 131072",
                too_much.stderr.decode().strip(),
                "",
                too_much.returncode,
                kills(prefix),
            ]
            print("|", " | ".join(map(str, row)), "|", flush=True)
    print(f"\n{done} of {len(models) * len(SETTINGS)} as planned")
    largest = models[8]
    with confined(4 * GIB) as prefix:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        planned = json.loads(run(prefix, "fit", str(largest), "--json").stdout)
        drawn = [
            "--temperature",
            "1",
            "--top-p",
            "1",
            "--seed",
            "1",
        ]  # greedy, random weights repeat a token, and its experts
        asked = run(prefix, "ask", "-m", str(largest), "--max-tokens", "48", *drawn, *QUESTION[2:])
        speed = json.loads(asked.stdout)["timings"]["tokens_per_s"] if asked.stdout else 0.0
        print(
            f"{largest.name} in 4 GiB: {planned['verdict']}, forecast"
            f" {planned['tokens_per_s']},"
            f" measured {speed:.2f} tokens/s"
        )
        print(f"exit {asked.returncode}, {kills(prefix)} killed")


if __name__ == "__main__":
    main(
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else Path(tempfile.gettempdir()) / "dslocal-fit-cgroups"
    )
