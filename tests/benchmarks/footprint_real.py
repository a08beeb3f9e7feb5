"""The footprint against what a process really takes: private memory and mapped weights at their
peak, the whole context evaluated.

    python tests/benchmarks/footprint_real.py [GIGABYTES]

nano and a random MoE of V3's kind, 12 settings, each in a process of its own that has imported what
`dslocal ask` imports. The constants in dslocal/plan/memory/footprint.py come from here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from v3_shape import write_v3_shape

from dslocal.catalog import conversion_cache
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint

MIB = 1 << 20
NANO = [
    LoadConfig(4096),
    LoadConfig(4096, n_ubatch=64),
    LoadConfig(2048, kv_type=GgmlType.Q8_0),
    LoadConfig(4096, kv_type=GgmlType.Q4_0, n_ubatch=256),
    LoadConfig(4096, flash_attn=False),
    LoadConfig(4096, n_ubatch=2048, flash_attn=False),
]
MOE = [
    LoadConfig(1024),
    LoadConfig(1024, n_ubatch=64),
    LoadConfig(1024, kv_type=GgmlType.Q8_0, n_ubatch=256),
    LoadConfig(1024, load_mode="none"),
    LoadConfig(1024, flash_attn=False),
    LoadConfig(2048, n_ubatch=1024),
]
CHILD = """
import json, re, sys
from pathlib import Path
from dslocal.cli import main, session_setup
from dslocal.cli.asking import dry_run, prepared_question, print_answers, serve_client
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.plan.load_config import LoadConfig
from dslocal.gguf.tensor_types import GgmlType
fields = json.loads(sys.argv[2])
loading = LoadConfig(**{**fields, "kv_type": GgmlType(fields["kv_type"])})
with LlamaModel(Path(sys.argv[1]), loading) as model, LlamaContext(model, loading) as context:
    for start in range(0, loading.n_ctx, loading.n_batch):
        end = min(start + loading.n_batch, loading.n_ctx)
        context.evaluate([7 * i % 300 for i in range(start, end)])
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.6
    with tempfile.TemporaryDirectory() as folder:
        moe = Path(folder) / "moe.gguf"
        checkpoint = write_v3_shape(Path(folder) / "moe", gigabytes)
        subprocess.run(
            [
                Path(sys.executable).with_name("dslocal"),
                "convert",
                checkpoint,
                "--quant",
                "Q8_0",
                "-o",
                moe,
            ],
            check=True,
        )
        print(
            f"{'':6}{'ctx':>6}{'KV':>6}{'ubatch':>8}"
            f" {'flash':6}{'mode':6}{'predicted':>12}{'measured':>11}{'off by':>9}   MiB"
        )
        for name, path, settings in (
            ("nano", conversion_cache.ensure_gguf("nano"), NANO),
            ("moe", moe, MOE),
        ):
            for load_config in settings:
                row(name, path, load_config)


def row(name: str, path: Path, load_config: LoadConfig) -> None:
    predicted = footprint(read_header(path), load_config).all.total / MIB
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, str(path), json.dumps(asdict(load_config))],
        capture_output=True,
        check=True,
    )
    measured = int(done.stdout) / 1024
    settings = (
        f"{load_config.n_ctx:6}{load_config.kv_type.name:>6}{load_config.n_ubatch:8}"
        f" {load_config.flash_attn!s:6}{load_config.load_mode:6}"
    )
    print(
        f"{name:6}{settings}{predicted:12.1f}{measured:11.1f}{predicted / measured - 1:9.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
