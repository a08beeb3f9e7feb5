"""Print the data of the plot of memory against context: plans of dslocal, nothing measured.

    python docs/tools/memory_plans.py > docs/benchmarks/data/memory.toml

A plan is arithmetic over a header and a described machine, so the figures are the same everywhere
until the planner or models.yaml changes.
"""

from __future__ import annotations

import dslocal

CONTEXTS = (4096, 8192, 16384, 32768, 65536, 131072)
MODELS = (
    "deepseek-r1",
    "deepseek-v2-lite-chat",
    "deepseek-r1-distill-qwen-7b",
    "deepseek-r1-distill-llama-8b",
)
QUANT = "Q4_K_M"
MACHINE = "2TiB"
HEADER = """\
[about]
date = "2026-12-01"
machine = "a described one, with {machine} of RAM and no GPU: so much that no context is refused"
command = ["python docs/tools/memory_plans.py"]
versions = "dslocal {version}, llama-cpp-python 0.3.36"
origin = "dslocal's own plans, which tests/benchmarks/footprint_exact.py compares with llama.cpp's"
not_measured = "Nothing here is a measurement. Weights come on top: see the table."
"""


def main() -> None:
    """Print the file."""
    print("# The KV cache by context: docs/tools/memory_plans.py wrote this file.")
    print(f"contexts = {list(CONTEXTS)}  # tokens\n")
    print(HEADER.format(machine=MACHINE, version=dslocal.__version__))
    rows = []
    lines = []
    for name in MODELS:
        cache = []
        for n_ctx in CONTEXTS:
            plan = dslocal.plan(
                name, quant=QUANT, n_ctx=n_ctx, kv_type="f16", ram=MACHINE, vram="0", os="linux"
            )
            cache.append(plan.memory.kv.host)
        lines.append((name, cache))
        file = plan.memory.weights.host
        shown = ", ".join(f'"{nbytes / 2**30:.2f}"' for nbytes in cache)
        rows.append(f'    ["{name}", "{file / 2**30:.1f}", {shown}],')
    print("[tables.kv]")
    columns = ["Q4_K_M, GiB", "Weights", *(f"KV at {n // 1024}k" for n in CONTEXTS)]
    print("columns = [" + ", ".join(f'"{column}"' for column in columns) + "]")
    print("rows = [", *rows, "]", sep="\n")
    for name, cache in lines:
        print(f"\n[lines.{name}]\ngib = {[round(nbytes / 2**30, 4) for nbytes in cache]}")


if __name__ == "__main__":
    main()
