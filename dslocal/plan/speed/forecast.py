"""Forecast the tokens per second of a plan from the times that a token takes on GPU, CPU and SSD.

Experts that are read ahead (:mod:`dslocal.plan.expert_streaming`) come while others are multiplied
with. If the next layer's experts are guessed, and rightly so, the disk reads all the time, and a
layer takes as long as the longer of reading and computing. Which is longer differs from layer to
layer, as some of its experts are in memory. So all layers together take more than the longer of
both sums. The root of the sum of both squares is taken for that: it is the longer one where the
other is short, and 1.4 times as much where they are equal. With the disk's own rate meanwhile, what
was measured with memory limits of 2, 3 and 4 GiB was within 8 % of such times, with guesses and
without, and without guesses at 6 GiB. There, with guesses, tokens took 15 to 27 % longer
(tests/benchmarks/expert_streaming.py, on one machine with two cores, where threads that read take a
part of what computes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import LoadConfig, MemoryUse
from dslocal.plan.machine.machine import Machine

from .layer_time import layer_seconds
from .rates import Rates
from .traffic import Traffic, traffic, weight_reads

SPREAD = 0.30  # forecasts are given as a range this far to either side
EXPERT_MATRICES = 3  # of an expert: gate, up and down


@dataclass(frozen=True)
class Speed:
    """A range of tokens a second."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Return the geometric mean of both ends."""
        return math.sqrt(self.low * self.high)


@dataclass(frozen=True, slots=True)
class TokenTime:
    """What one token takes, in parts.

    Attributes:
        read: the bytes that it reads.
        experts: bytes of experts that the CPU multiplies with while others are read; 0 where none
            are read ahead.
        rates: bytes a second of each tier; that of RAM is the mean of the weights' types.
        layers: seconds that its layers take besides reading.
        waited_share: the share of what is read from the SSD that has come when an expert can first
            be used.
        guessed: whether the next layer's experts are guessed rightly, so that they are read while
            all else is computed.
    """

    read: Traffic
    experts: float
    rates: Rates
    layers: float
    waited_share: float = 1 / EXPERT_MATRICES
    guessed: bool = False

    @property
    def gpu(self) -> float:
        """Return the seconds of reading on the GPU."""
        return self.read.gpu / self.rates.gpu if self.rates.gpu else 0.0

    @property
    def ram_bytes(self) -> float:
        """Return the bytes that the CPU reads, without experts that are read ahead."""
        if not self.experts:
            return self.read.ram
        return self.read.ram + self.read.ssd - self.experts

    @property
    def ram(self) -> float:
        """Return the seconds of reading those bytes."""
        return self.ram_bytes / self.rates.ram

    @property
    def using(self) -> float:
        """Return the seconds of multiplying with experts that are read ahead."""
        return self.experts / self.rates.ram

    @property
    def ssd(self) -> float:
        """Return the seconds of reading from the SSD."""
        return self.read.ssd / self.rates.ssd

    @property
    def computing(self) -> float:
        """Return the seconds of multiplying with all weights."""
        return self.gpu + self.ram + self.using

    @property
    def seconds(self) -> float:
        """Return the seconds of the token.

        Of experts that are read ahead, one matrix is read while another is used: the first is
        waited for, and the last is used when all are read. Those that are guessed come while the
        layer before is computed.
        """
        if not self.experts:
            return self.gpu + self.ram + self.ssd + self.layers
        if self.guessed:
            return math.hypot(self.computing, self.ssd) + self.layers
        last_used = self.ssd + self.using / EXPERT_MATRICES
        first_read = self.ssd * self.waited_share + self.using
        return self.gpu + self.ram + max(last_used, first_read) + self.layers


def forecast(
    header: GgufHeader, load_config: LoadConfig, memory: MemoryUse, machine: Machine, rates: Rates
) -> Speed:
    """Return the tokens a second while decoding, with the spread of such forecasts."""
    full, empty = forecast_times(header, load_config, memory, machine, rates)
    return Speed(_rate(full) * (1 - SPREAD), _rate(empty) * (1 + SPREAD))


def forecast_times(
    header: GgufHeader, load_config: LoadConfig, memory: MemoryUse, machine: Machine, rates: Rates
) -> tuple[TokenTime, TokenTime]:
    """Return a token's time at the low and the high end of a forecast, without the spread.

    The low end is that of a full context, the high end that of an empty one. Where experts are read
    ahead, the low end is for a router that chooses all of them equally often and cannot be guessed,
    and the high end for one that prefers some (:func:`.skewed_hit_rate`) and is guessed rightly.
    """
    skewed = load_config.stream_experts
    full = traffic(header, load_config, memory, machine, filled=1.0)
    empty = traffic(header, load_config, memory, machine, filled=0.0, skewed=skewed)
    return (
        _token_time(header, load_config, full, rates),
        replace(_token_time(header, load_config, empty, rates), guessed=skewed),
    )


def tokens_per_s(
    header: GgufHeader,
    load_config: LoadConfig,
    memory: MemoryUse,
    machine: Machine,
    rates: Rates,
    filled: float,
    *,
    skewed: bool = False,
) -> float:
    """Return the middle of such a forecast; 0 when nothing is read.

    Args:
        header: the model's header.
        load_config: how it is loaded.
        memory: what it takes.
        machine: where it runs.
        rates: what that reads a second.
        filled: the share of the context that is filled.
        skewed: as for :func:`traffic`; then the next layer's experts are guessed, too.
    """
    read = traffic(header, load_config, memory, machine, filled=filled, skewed=skewed)
    return _rate(replace(_token_time(header, load_config, read, rates), guessed=skewed))


def _token_time(
    header: GgufHeader, load_config: LoadConfig, read: Traffic, rates: Rates
) -> TokenTime:
    reads = weight_reads(header, load_config)
    experts = 0.0
    if load_config.stream_experts:
        experts = min(reads.used_in_ram, read.ram + read.ssd)
    missing = min(1.0, read.ssd / reads.used_in_ram) if reads.used_in_ram else 0.0
    waited = waited_share(reads.used * missing, rates.ssd_requests)
    rates = replace(rates, ram=rates.of_types(reads.ram_types))
    return TokenTime(read, experts, rates, layer_seconds(header, load_config, rates), waited)


def waited_share(missing: float, requests: int) -> float:
    """Return the share of a layer's missing experts that comes before one can be used.

    The first matrix of each is needed for that: a third. But pieces that are read at the same time
    come at the same time, and where all are, nothing is read while an expert is used.

    Args:
        missing: experts of a layer that are read for a token.
        requests: pieces that are read at the same time.
    """
    pieces = EXPERT_MATRICES * missing
    return max(1 / EXPERT_MATRICES, min(1.0, requests / pieces)) if pieces else 1.0


def _rate(time: TokenTime) -> float:
    return 1 / time.seconds if time.seconds else 0.0
