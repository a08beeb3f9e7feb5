"""The published command lines that start vLLM and SGLang on DeepSeek's models.

Each line names its source. Nothing here was run: the numbers of GPUs and machines, and addresses,
are put into the published line.
"""

from __future__ import annotations

from dataclasses import dataclass

VLLM_V3 = "https://docs.vllm.ai/projects/recipes/en/latest/DeepSeek/DeepSeek-V3.html"
VLLM_V4 = "https://recipes.vllm.ai/deepseek-ai/DeepSeek-V4-Flash"
VLLM_DATA_PARALLEL = "https://docs.vllm.ai/en/latest/serving/data_parallel_deployment.html"
VLLM_PIPELINE = "https://docs.vllm.ai/en/latest/serving/parallelism_scaling.html"
SGLANG_V3 = "https://docs.sglang.io/docs/basic_usage/deepseek_v3.md"
SGLANG_NODES = "https://github.com/sgl-project/sglang/tree/main/benchmark/deepseek_v3"
SGLANG_V4 = "https://docs.sglang.io/cookbook/autoregressive/DeepSeek/DeepSeek-V4"
V4_FLAGS = (
    "--kv-cache-dtype fp8 --block-size 256 --tokenizer-mode deepseek_v4 "
    "--tool-call-parser deepseek_v4 --enable-auto-tool-choice --reasoning-parser deepseek_v4"
)
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
    """

    hosts: tuple[str, ...]
    gpus: int

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
        line = (
            f"{base} --tensor-parallel-size {boxes.gpus} --pipeline-parallel-size "
            f"{len(boxes.hosts)}{flags}"
        )
        how = f"tensor parallel over the {boxes.gpus} GPUs of a machine, pipeline parallel between"
        return Launch(f"{how}; a Ray cluster joins the machines first", (line,), (VLLM_PIPELINE,))
    if len(boxes.hosts) == 1:
        split = "data-parallel-size" if is_v4 else "tensor-parallel-size"
        line = f"{base} --{split} {boxes.gpus} --enable-expert-parallel{flags}"
        how = "data" if is_v4 else "tensor"
        return Launch(f"{how} and expert parallel over {boxes.gpus} GPUs", (line,), (recipe,))
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


def sglang_launch(repository: str, boxes: GpuBoxes, *, is_v4: bool, fits_one: bool) -> Launch:
    """Return how SGLang is started. Arguments are those of :func:`vllm_launch`."""
    base = f"python3 -m sglang.launch_server --model-path {repository} --trust-remote-code"
    recipe = SGLANG_V4 if is_v4 else SGLANG_V3
    if len(boxes.hosts) == 1 or fits_one:
        how = f"tensor parallel over {boxes.gpus} GPUs"
        if len(boxes.hosts) > 1:
            how += ", on each machine by itself: every machine holds the model"
        return Launch(how, (f"{base} --tp {boxes.gpus}",), (recipe,))
    first, count = (boxes.hosts[0], len(boxes.hosts))
    shared = f"--tp {boxes.total} --dist-init-addr {first}:{SGLANG_PORT} --nnodes {count}"
    commands = tuple(f"{base} {shared} --node-rank {number}" for number in range(count))
    return Launch(f"tensor parallel over {boxes.total} GPUs", commands, (SGLANG_NODES, recipe))
