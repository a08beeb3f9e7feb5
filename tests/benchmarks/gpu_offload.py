"""Experts on the GPU, half of them, none: device memory against the footprint, tokens a second,
nano's text; and plans for a smaller card.

    python tests/benchmarks/gpu_offload.py [GIGABYTES [FILE]]

Needs an NVIDIA GPU with nothing else on it, and llama.cpp built with CUDA (``LLAMA_CPP_LIB_PATH``
names the folder of its libraries). A random MoE of V3's kind of GIGABYTES (4.6) in FP8 becomes FILE
in Q8_0, which is taken as it is when it is there. Every row is a process of its own that evaluates
the whole context (1,024 tokens with small micro-batches); measured is what nvidia-smi says the
device has in use then, less what it had before the process. ``GPU_CONTEXT`` in
dslocal/plan/memory/footprint.py comes from here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dslocal import chat, prompts
from dslocal.catalog import conversion_cache
from dslocal.engine import LlamaContext, LlamaModel, loader
from dslocal.engine.sizing.breakdown import memory_breakdown
from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig, MemoryUse
from dslocal.plan.machine import probe
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.memory.shape import moe_layers

MIB = 1 << 20
STEP = 512
DECODED = 64
WARM_UP = 16  # tokens
ALL_LAYERS = 1000
CAPS = (4096, 3072, 1536, 1024)  # MiB of GPU memory
QUESTIONS = ("What is 47 + 86?", "capital of peru")
TOLERANCE = 0.03
PARTS = ("weights", "kv", "compute", "overhead")


@dataclass(frozen=True)
class Found:
    """What a child saw. ``stages`` are MiB in use on the whole device; ``parts`` bytes in
    llama.cpp's own buffers on it.
    """

    load_config: LoadConfig
    stages: dict[str, float]
    parts: dict[str, int]
    tokens_per_s: float
    prefill_per_s: float
    own: float  # MiB in use on the whole device, as CUDA tells the process itself
    process: float  # MiB in use by processes, as nvidia-smi says
    promised: int  # bytes on the device by plan


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 4.6
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "moe.gguf"
        if not path.exists():
            write_moe(path, Path(folder) / "moe", gigabytes)
        failures = [*placements(path), *same_text(), *smaller_cards(path)]
    print("\n" + ("\n".join(f"FAILED: {line}" for line in failures) or "all as it should be"))
    raise SystemExit(bool(failures))


def write_moe(path: Path, checkpoint: Path, gigabytes: float) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from v3_shape import write_v3_shape

    import dslocal.convert as converter

    source = converter.FolderSource(write_v3_shape(checkpoint, gigabytes))
    converter.write_gguf(
        converter.plan_conversion(
            converter.open_checkpoint(source), [converter.recipe_named("Q8_0")]
        ),
        [path],
    )


def placements(path: Path) -> Iterator[str]:
    header = read_header(path)
    n = len(moe_layers(header))
    whole = LoadConfig(4096, n_gpu_layers=ALL_LAYERS)
    load_configs = {
        "all experts on the GPU": whole,
        f"experts of {n // 2} of {n} in RAM": replace(whole, cpu_moe_layers=n // 2),
        "all experts in RAM": replace(whole, cpu_moe_layers=n),
        "all, ubatch 64": replace(whole, n_ubatch=64),
        "all, ubatch 2048": replace(whole, n_ubatch=2048),
        "all, KV in q8_0": replace(whole, kv_type=GgmlType.Q8_0),
        "all, no flash attention": replace(whole, flash_attn=False),
        "all, context 32768": replace(whole, n_ctx=32768),
        "8 layers on the GPU": replace(whole, n_gpu_layers=8),
    }
    print(
        f"a model of {path.stat().st_size / MIB:,.0f} MiB; MiB on the device, predicted / in"
        f" llama.cpp's buffers or beside them"
    )
    print(
        f"{'':28}{'weights':>16}{'KV':>12}{'compute':>14}{'overhead':>14}"
        f"{'predicted':>11}{'measured':>10}{'ratio':>8}{'tokens/s':>10}"
    )
    seen = {}
    for number, (name, load_config) in enumerate(load_configs.items()):
        found = seen[name] = child("measure", path, load_config)
        predicted, measured = footprint(header, load_config), found.stages["filled"]
        row(name, predicted, found)
        ratio = predicted.all.gpu / MIB / measured if measured else 1.0
        if number < 3 and abs(ratio - 1) > TOLERANCE:
            yield f"{name}: {predicted.all.gpu / MIB:,.0f} MiB predicted, {measured:,.0f} measured"
    print(
        "\nMiB in use on the device as it comes to that; all that is in use by CUDA's"
        " account and"
        " the process's share by nvidia-smi's"
    )
    for name, found in seen.items():
        stages = "  ".join(f"{stage} {used:,.0f}" for stage, used in found.stages.items())
        print(
            f"{name:28}{stages}; {found.own:,.0f}, {found.process:,.0f}; prefill"
            f" {found.prefill_per_s:,.0f} tokens/s"
        )


def row(name: str, predicted: MemoryUse, found: Found) -> None:
    measured = found.stages["filled"]
    theirs = {
        **{part: nbytes / MIB for part, nbytes in found.parts.items()},
        "overhead": measured - sum(found.parts.values()) / MIB,
    }
    cells = [f"{getattr(predicted, part).gpu / MIB:,.1f}/{theirs[part]:,.1f}" for part in PARTS]
    total = predicted.all.gpu / MIB
    ratio = f"{total / measured:8.3f}" if measured else f"{'':8}"
    print(
        f"{name:28}{cells[0]:>16}{cells[1]:>12}{cells[2]:>14}{cells[3]:>14}"
        f"{total:11,.0f}{measured:10,.0f}{ratio}{found.tokens_per_s:10.1f}",
        flush=True,
    )


def same_text() -> Iterator[str]:
    """nano's answers, experts on the GPU, half of them, none."""
    path = conversion_cache.ensure_gguf("nano")
    n = len(
        [
            layer
            for layer in moe_layers(read_header(path))
            if layer < read_header(path).of_arch("block_count") - 1
        ]
    )
    print("\nnano at temperature 0")
    whole = LoadConfig(1024, n_gpu_layers=ALL_LAYERS)
    texts = [tell(path, replace(whole, cpu_moe_layers=in_ram)) for in_ram in (0, (n + 1) // 2, n)]
    for in_ram, text in zip((0, (n + 1) // 2, n), texts, strict=True):
        print(
            f"experts of {in_ram} of {n} layers in RAM:"
            f" {'the same' if text == texts[0] else 'another'}: {text}"
        )
    if len({json.dumps(text) for text in texts}) > 1:
        yield "nano's text differs between placements"


def smaller_cards(path: Path) -> Iterator[str]:
    """Plans for a card that is smaller than the one that is there."""
    print("\nGPU memory of  planned  measured  MiB")
    for cap in CAPS:
        found = child("capped", path, LoadConfig(0), cap * MIB)
        measured, load_config = found.stages["filled"], found.load_config
        how = (
            f"{load_config.n_gpu_layers} layers on the GPU, experts of"
            f" {load_config.cpu_moe_layers} in RAM, context {load_config.n_ctx}"
        )
        how += (
            f", KV {load_config.kv_type.name.lower()}, micro-batches of"
            f" {load_config.n_ubatch}; {found.tokens_per_s:.1f} tokens/s"
        )
        print(f"{cap:13,}{found.promised / MIB:9,.0f}{measured:10,.0f}  {how}", flush=True)
        if max(measured, found.promised / MIB) > cap:
            yield (
                f"with {cap:,} MiB of GPU memory {found.promised / MIB:,.0f} are planned and"
                f" {measured:,.0f} measured"
            )


def child(what: str, path: Path, load_config: LoadConfig, cap: int = 0) -> Found:
    """Runs ``what`` in a process of its own; from the stages it takes what was in use before."""
    before = in_use()
    answer = ask(what, path, load_config, cap)
    fields = answer["loading"]
    answer["loading"] = LoadConfig(**{**fields, "kv_type": GgmlType(fields["kv_type"])})
    answer["stages"] = {stage: used - before for stage, used in answer["stages"].items()}
    return Found(**answer)


def tell(path: Path, load_config: LoadConfig) -> list[str]:
    texts: list[str] = ask("tell", path, load_config)["texts"]
    return texts


def ask(what: str, path: Path, load_config: LoadConfig, cap: int = 0) -> dict[str, Any]:
    question = json.dumps(
        {"what": what, "path": str(path), "loading": asdict(load_config), "cap": cap}
    )
    command = [sys.executable, "-P", __file__, "--child"]
    done = subprocess.run(command, input=question, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} {load_config}: exit status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def in_use(what: str = "gpu=memory.used") -> float:
    """MiB of device memory in use, by anyone; 0 without an NVIDIA GPU."""
    try:
        query = ["nvidia-smi", f"--query-{what}", "--format=csv,noheader,nounits"]
        return float(
            subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
        )
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return 0.0


def in_child() -> None:
    question = json.load(sys.stdin)
    path, fields = Path(question["path"]), question["loading"]
    load_config = LoadConfig(**{**fields, "kv_type": GgmlType(fields["kv_type"])})
    if question["what"] == "tell":
        print(json.dumps({"texts": notices(path, load_config)}))
        return
    header, promised = read_header(path), 0
    if question["what"] == "capped":
        load_config, promised = planned_for(path, header, question["cap"])
    print(
        json.dumps(
            {
                **measured_with(path, load_config),
                "promised": promised,
                "loading": asdict(load_config),
            }
        )
    )


def planned_for(path: Path, header: GgufHeader, cap: int) -> tuple[LoadConfig, int]:
    machine = describe_machine(probe.probe_machine().ram, vram=cap)
    probe.probe_machine = lambda system=None: machine
    planned = loader.plan_for(path, header)
    return planned.load_config, planned.memory.all.gpu


def measured_with(path: Path, load_config: LoadConfig) -> dict[str, Any]:
    """Loads, evaluates half of a micro-batch or more, decodes, fills the context; looks at the
    device in between.
    """
    stages = {"before": in_use()}
    libraries.devices()  # opens them
    stages["opened"] = in_use()
    with LlamaModel(path, load_config) as model:
        stages["loaded"] = in_use()
        with LlamaContext(model, load_config) as context:
            stages["context"] = in_use()
            parts = parts_on_gpu(context)
            context.evaluate([7 * i % 300 for i in range(min(STEP, load_config.n_ctx // 2))])
            context.logits()
            stages["prefill"] = in_use()
            for i in range(WARM_UP):
                decode(context, i)
            began = time.perf_counter()
            for i in range(DECODED):
                decode(context, i)
            tokens_per_s = DECODED / (time.perf_counter() - began)
            stages["decoded"] = in_use()
            began = time.perf_counter()
            already = len(context.ids)
            step = max(STEP, load_config.n_ubatch)
            last = min(
                load_config.n_ctx, load_config.n_ctx if load_config.n_ubatch >= STEP else 2 * STEP
            )
            for start in range(already, last, step):
                context.evaluate([7 * i % 300 for i in range(start, min(start + step, last))])
            context.logits()
            prefill_per_s = (len(context.ids) - already) / (time.perf_counter() - began)
            stages["filled"] = in_use()
            own = (
                sum(
                    device.total - device.free
                    for device in libraries.devices()
                    if device.kind == libraries.GPU
                )
                / MIB
            )
            process = in_use("compute-apps=used_memory")
    return {
        "stages": stages,
        "parts": parts,
        "tokens_per_s": tokens_per_s,
        "prefill_per_s": prefill_per_s,
        "own": own,
        "process": process,
    }


def decode(context: LlamaContext, i: int) -> None:
    context.evaluate((11 * i % 300,))
    context.logits().argmax()


def parts_on_gpu(context: LlamaContext) -> dict[str, int]:
    """llama.cpp's own account of its buffers on the GPU."""
    buffers = [buffer for buffer in memory_breakdown(context._handle) if buffer.on_gpu]
    names = {"weights": "model", "kv": "context", "compute": "compute"}
    return {part: sum(getattr(buffer, name) for buffer in buffers) for part, name in names.items()}


def notices(path: Path, load_config: LoadConfig) -> list[str]:
    """nano's answers to QUESTIONS, reasoning included."""
    family = prompts.recognise_family(read_header(path), None).family
    settings = family.defaults.with_value("temperature", 0, "here").with_value(
        "max_tokens", 300, "here"
    )
    texts = []
    with LlamaModel(path, load_config) as model, LlamaContext(model, load_config) as context:
        for question in QUESTIONS:
            session = chat.Session(context, family, settings)
            texts.append(
                "".join(getattr(event, "text", "") for event in session.stream(question, 1))
            )
    return texts


if __name__ == "__main__":
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    in_child() if sys.argv[1:] == ["--child"] else main()
