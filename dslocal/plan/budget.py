"""Compare what a model's load configs take with what a machine has.

Knows one header and one machine. Does not know what is wanted, or what to give up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dslocal.gguf.header import GgufHeader
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.memory.repack import MIN_SHARE, repack_growth, repacked_share

from .load_config import DeviceShare, LoadConfig, MemoryUse

REPACK_ROOM = 0.9  # the share of the RAM that a model may take which is not mapped
HEADROOM = 0.02  # the share of a budget that stays free, for what is not foreseen


@dataclass(frozen=True)
class Budget:
    """One model on one machine: what each load config takes, and whether that is there.

    Attributes:
        header: the model's header.
        machine: the machine.
    """

    header: GgufHeader
    machine: Machine
    _memory: dict[LoadConfig, MemoryUse] = field(default_factory=dict)

    @property
    def all_layers(self) -> int:
        """Return the number of layers as llama.cpp counts them for ``n_gpu_layers``.

        The MTP layer is one though it is not loaded, and so is the output.
        """
        return self.header.of_arch("block_count") + 1

    @property
    def moe_layers(self) -> int:
        """Return the number of layers with routed experts, without the MTP layer."""
        if not self.header.of_arch("expert_count"):
            return 0
        n_layer = self.header.of_arch("block_count") - self.header.mtp_layers
        return max(0, n_layer - self.header.of_arch("leading_dense_block_count"))

    def memory(self, config: LoadConfig) -> MemoryUse:
        """Return the bytes that ``config`` takes.

        Raises:
            UsageError: llama.cpp refuses the combination on any machine.
        """
        if config not in self._memory:
            kind = self.machine.gpus[0].kind if self.machine.gpus else "cuda"
            use = footprint(self.header, config, kind)
            if config.repack:
                growth = repack_growth(self.header, config, self.machine.repacked)
                use = replace(use, weights=use.weights + DeviceShare(0, growth))
            self._memory[config] = use
        return self._memory[config]

    def repacked(self, config: LoadConfig) -> LoadConfig | None:
        """Return ``config`` with weights rearranged for the CPU, where that is worth it and fits.

        The model is read into memory then, of which nothing can be dropped when memory runs short:
        more of it has to stay free than for a mapped file.
        """
        if config.n_gpu_layers or self.machine.gpus:
            return None
        if repacked_share(self.header, config, self.machine.repacked) < MIN_SHARE:
            return None
        candidate = replace(config, repack=True, load_mode="none")
        needed = self.memory(candidate).all.host
        return candidate if needed <= REPACK_ROOM * self.machine.available else None

    def gpu_shortage(self, config: LoadConfig) -> int:
        """Return the bytes that are missing on the GPU; 0 or less when it fits."""
        needed = self.memory(config).all.gpu
        return needed - _usable(self.machine.vram) if needed else 0

    def ram_shortage(self, config: LoadConfig) -> int:
        """Return the bytes that are missing in RAM; 0 or less when it fits."""
        needed = self.memory(config).all
        in_ram = needed.total if self.machine.unified else needed.host
        return in_ram - _usable(self.machine.available)

    def fits(self, config: LoadConfig) -> bool:
        """Return whether ``config`` takes no more than the GPU and the RAM have."""
        return self.gpu_shortage(config) <= 0 and self.ram_shortage(config) <= 0

    def runs_mapped(self, config: LoadConfig) -> bool:
        """Return whether everything fits but the weights in RAM, read from the SSD as needed.

        One layer's worth of them must fit, or every token would read all of them again.
        """
        weights = self.memory(config).weights.host
        one_layer = weights // max(1, self.header.of_arch("block_count"))
        return (
            self.gpu_shortage(config) <= 0 and self.ram_shortage(config) - weights + one_layer <= 0
        )

    def holds_weights(self, config: LoadConfig) -> bool:
        """Return whether there is room for the weights alone, however they are spread."""
        room = self.machine.available + (0 if self.machine.unified else self.machine.vram)
        return self.memory(config).weights.total <= room

    def placed(
        self,
        config: LoadConfig,
        *,
        n_gpu_layers: int | None = None,
        cpu_moe_layers: int | None = None,
    ) -> LoadConfig:
        """Return ``config`` with other layers on the GPU, and the load mode that goes with them.

        A mapped Metal buffer would span the whole file, experts "on the CPU" included, so a model
        that is only partly on the GPU is read into memory there.
        """
        if n_gpu_layers is None:
            n_gpu_layers = config.n_gpu_layers
        if cpu_moe_layers is None:
            cpu_moe_layers = config.cpu_moe_layers
        partly = cpu_moe_layers > 0 or n_gpu_layers < self.all_layers
        read_into_memory = self.machine.unified and n_gpu_layers > 0 and partly
        return replace(
            config,
            n_gpu_layers=n_gpu_layers,
            cpu_moe_layers=cpu_moe_layers,
            load_mode="none" if read_into_memory else "mmap",
        )


def _usable(budget: int) -> int:
    """Return the bytes of ``budget`` that a plan may use."""
    return round(budget * (1 - HEADROOM))
