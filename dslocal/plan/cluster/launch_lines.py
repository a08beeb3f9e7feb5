"""The published command lines that start vLLM and SGLang on DeepSeek's models.

Each line names its source. Nothing here was run: the numbers of GPUs and machines, and addresses,
are put into the published line. The flags were compared in December 2026 with vllm-project/recipes
(models/deepseek-ai/DeepSeek-R1.yaml and DeepSeek-V4-Flash.yaml), vLLM's docs/serving
(data_parallel_deployment.md and parallelism_scaling.md, "Running vLLM with MultiProcessing"), and
SGLang's benchmark/deepseek_v3/README.md and docs_new/src/snippets/configs/deepseek-ai/
deepseek-v4.jsx, whose cells choose the kernels of the experts by the generation of the GPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VLLM_V3 = "https://docs.vllm.ai/projects/recipes/en/latest/DeepSeek/DeepSeek-V3.html"
VLLM_V4 = "https://recipes.vllm.ai/deepseek-ai/DeepSeek-V4-Flash"
VLLM_DATA_PARALLEL = "https://docs.vllm.ai/en/latest/serving/data_parallel_deployment.html"
VLLM_PIPELINE = "https://docs.vllm.ai/en/latest/serving/parallelism_scaling.html"
SGLANG_V3 = "https://docs.sglang.io/cookbook/autoregressive/DeepSeek/DeepSeek-V3"
SGLANG_NODES = "https://github.com/sgl-project/sglang/tree/main/benchmark/deepseek_v3"
SGLANG_V4 = "https://docs.sglang.io/cookbook/autoregressive/DeepSeek/DeepSeek-V4"
V4_FLAGS = (
    "--kv-cache-dtype fp8 --block-size 256 --tokenizer-mode deepseek_v4 "
    "--tool-call-parser deepseek_v4 --enable-auto-tool-choice --reasoning-parser deepseek_v4"
)
# Of SGLang, for the FP4 experts of V4: Hopper (H100, GH200), Blackwell (B200, GB300).
V4_EXPERT_KERNELS = {"H": "marlin", "B": "flashinfer_mxfp4"}
DATA_PARALLEL_PORT = 13345
SGLANG_PORT = 5000


@dataclass(frozen=True, slots=True)
class Launch:
    """Commands, one a machine, and where they are published.

    Attributes:
        how: how the model is spread, in a few words.
        commands: what is started, on the first machine first.
        sources: addresses of the pages.
    """

    how: str
    commands: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GpuBoxes:
    """Machines alike, with GPUs alike.

    Attributes:
        hosts: their names or addresses.
        gpus: GPUs of each.
        gpu: the name of a GPU, such as "H200 141 GB".
    """

    hosts: tuple[str, ...]
    gpus: int
    gpu: str = ""

    @property
    def total(self) -> int:
        """Return the GPUs of all of them."""
        return self.gpus * len(self.hosts)


def vllm_launch(repository: str, boxes: GpuBoxes, *, is_v4: bool, fits_one: bool) -> Launch:
    """Return how vLLM is started.

    Args:
        repository: the model on the hub.
        boxes: the machines.
        is_v4: whether it is a DeepSeek-V4.
        fits_one: whether one machine holds the model.
    """
    base = f"vllm serve {repository} --trust-remote-code"
    flags = f" {V4_FLAGS}" if is_v4 else ""
    recipe = VLLM_V4 if is_v4 else VLLM_V3
    if not fits_one:
        return _vllm_pipeline(base, flags, boxes)
    if len(boxes.hosts) == 1:
        line = f"{base} --tensor-parallel-size {boxes.gpus} --enable-expert-parallel{flags}"
        return Launch(f"tensor and expert parallel over {boxes.gpus} GPUs", (line,), (recipe,))
    first = boxes.hosts[0]
    shared = (
        f"--data-parallel-size {boxes.total} --data-parallel-size-local {boxes.gpus} "
        f"--data-parallel-address {first} --data-parallel-rpc-port {DATA_PARALLEL_PORT} "
        f"--enable-expert-parallel{flags}"
    )
    commands = [f"{base} {shared}"]
    for number in range(1, len(boxes.hosts)):
        rank = f"--headless --data-parallel-start-rank {number * boxes.gpus}"
        commands.append(f"{base} {rank} {shared}")
    how = f"data parallel over {boxes.total} GPUs, the experts spread over all of them"
    return Launch(how, tuple(commands), (VLLM_DATA_PARALLEL, recipe))


def _vllm_pipeline(base: str, flags: str, boxes: GpuBoxes) -> Launch:
    """Return how vLLM is started where no machine holds the model: a command for each machine."""
    first = boxes.hosts[0]
    shared = (
        f"{base} --tensor-parallel-size {boxes.gpus} --pipeline-parallel-size {len(boxes.hosts)} "
        f"--nnodes {len(boxes.hosts)} --master-addr {first}{flags}"
    )
    commands = [f"{shared} --node-rank 0"]
    commands += [f"{shared} --node-rank {rank} --headless" for rank in range(1, len(boxes.hosts))]
    how = f"tensor parallel over the {boxes.gpus} GPUs of a machine, pipeline parallel between"
    return Launch(how, tuple(commands), (VLLM_PIPELINE,))


def sglang_launch(repository: str, boxes: GpuBoxes, *, is_v4: bool, fits_one: bool) -> Launch:
    """Return how SGLang is started. Arguments are those of :func:`vllm_launch`."""
    base = f"python3 -m sglang.launch_server --model-path {repository} --trust-remote-code"
    recipe = SGLANG_V4 if is_v4 else SGLANG_V3
    if is_v4 and (kernels := _v4_expert_kernels(boxes.gpu)):
        base += f" --moe-runner-backend {kernels}"
    if len(boxes.hosts) == 1 or fits_one:
        how = f"tensor parallel over {boxes.gpus} GPUs"
        if len(boxes.hosts) > 1:
            how += ", on each machine by itself: every machine holds the model"
        return Launch(how, (f"{base} --tp {boxes.gpus}",), (recipe,))
    first, count = (boxes.hosts[0], len(boxes.hosts))
    shared = f"--tp {boxes.total} --dist-init-addr {first}:{SGLANG_PORT} --nnodes {count}"
    commands = tuple(f"{base} {shared} --node-rank {number}" for number in range(count))
    return Launch(f"tensor parallel over {boxes.total} GPUs", commands, (SGLANG_NODES, recipe))


def _v4_expert_kernels(gpu: str) -> str:
    """Return SGLang's kernels for V4's experts on a GPU; empty where its cookbook names none."""
    generation = re.match(r"(?:NVIDIA )?G?([BH])\d", gpu)
    return V4_EXPERT_KERNELS[generation[1]] if generation else ""
