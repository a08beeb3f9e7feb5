"""Measure how fast llama.cpp multiplies with weights that no cache holds.

Decoding multiplies each matrix of weights with one vector, so it goes as fast as the weights come
from RAM and the cores unpack them: on two cores, 15 GB/s of Q8_0, but 8 GB/s of Q2_K. One
measurement covers both: it uses the library that decodes, with as many threads. A small model
cannot be used, because the processor's caches hold its weights: cores that read 15 GB/s from RAM
read nano at 26 GB/s.

The weights are measured as they are in a model's file. Where llama.cpp rearranges them
(:mod:`dslocal.gguf.cpu_repack`), it unpacks them faster: Q4_K went from 12 to 15 GB/s, Q2_K from 8
to 11.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from dslocal.gguf import libraries
from dslocal.gguf.cpu_repack import InitParams
from dslocal.gguf.tensor_types import GgmlType

# Bytes of weights, so many that caches do not hold them: servers have up to 32 MiB for each core.
# Two cores beside a cache of 480 MiB, most of which was others', read more at the same rate.
SAMPLE_PER_CORE = 32 << 20
LEAST_SAMPLE, LARGEST_SAMPLE = 256 << 20, 2 << 30
MIN_SHARE = 1 / 2  # of that; caches would hold too much of less
SHARE_OF_AVAILABLE = 1 / 4  # of the memory that may be taken for it
PARTS = 16  # of the sample. Types take turns with them, so that no cache holds the next one
PASSES, PART_PASSES = 5, 3  # over the sample and over parts; the median counts: many will follow
MAX_SECONDS = 0.4  # after which each type gets one pass: other programs must be busy
MIN_CPU_SHARE = 0.8  # of the time of all threads, on the cores; with less, others had them
MAIN_TYPE = GgmlType.Q8_0  # measured on all of the sample
TYPES = tuple(kind for kind in GgmlType if kind.block > 1 or kind.name in ("F16", "BF16"))
COLUMNS = 4096  # of a matrix; it has as many rows as fit into a part
FILLING = 0x11  # a byte; what is multiplied does not matter, but it must be in RAM
WEIGHTS_MEMORY, GRAPH_MEMORY = 1 << 18, 4 << 20  # bytes for descriptions, for a graph's results

_CPU = 0  # enum ggml_backend_dev_type
_HANDLE = ctypes.c_void_p


class RamRates(NamedTuple):
    """Rates of the RAM.

    Attributes:
        by_type: bytes of weights per second of each type.
        disturbed: whether other programs had the cores for a part of the time.
    """

    by_type: dict[GgmlType, float]
    disturbed: bool


def wanted_sample(threads: int) -> int:
    """Return the bytes to measure with where memory is free."""
    return min(max(LEAST_SAMPLE, threads * SAMPLE_PER_CORE), LARGEST_SAMPLE)


def sample_size(available: int, threads: int) -> int:
    """Return the bytes to measure with where ``available`` bytes are free; 0 for too few."""
    wanted = wanted_sample(threads)
    nbytes = min(wanted, int(available * SHARE_OF_AVAILABLE))
    return nbytes if nbytes >= wanted * MIN_SHARE else 0


def measure_ram_rates(available: int, threads: int) -> RamRates | None:
    """Return the bytes of weights per second with which ``threads`` multiply from RAM, by type.

    Args:
        available: Bytes of memory that are free. At most a quarter of them is used meanwhile.
        threads: Threads that decoding would use.

    Returns:
        The rates; None where there is too little memory to measure them.

    Raises:
        EngineMissingError: llama.cpp's library is not there.
        OSError: The memory cannot be had, or llama.cpp computes nothing on the CPU.
    """
    nbytes = sample_size(available, threads)
    if not nbytes:
        return None
    libraries.require()
    # Not with malloc, which may give huge pages. A model's file is mapped in small ones, through
    # which Q8_0 came at 15.0 GB/s, and at 16.7 through huge ones.
    memory = mmap.mmap(-1, nbytes)
    _fill(memory, threads)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    part = nbytes // PARTS // mmap.PAGESIZE * mmap.PAGESIZE
    with _cpu_backend(threads) as backend:
        timer = _Timer(backend, threads)
        starts = [start + number * part for number in range(PARTS)]
        rates = {MAIN_TYPE: timer.rate(MAIN_TYPE, [starts] * PASSES, part)}
        turns = itertools.cycle(starts)
        for kind in TYPES:
            if kind != MAIN_TYPE:
                rates[kind] = timer.rate(kind, [[next(turns)] for _ in range(PART_PASSES)], part)
    return RamRates(rates, timer.disturbed)


def _fill(memory: mmap.mmap, threads: int) -> None:
    """Write to all of the memory, so that the system has to provide it.

    Several threads do so: the system puts a page beside the core that first touches it, and the
    pages of a model beside the cores that read it. Each holds its part of the memory, which Ctrl-C
    would take from under it otherwise.
    """
    nbytes = len(memory)
    size = -(-nbytes // PARTS)
    with ThreadPoolExecutor(min(threads, PARTS)) as pool:
        for offset in range(0, nbytes, size):
            part = (ctypes.c_char * min(size, nbytes - offset)).from_buffer(memory, offset)
            pool.submit(ctypes.memset, part, FILLING, len(part))


@contextmanager
def _cpu_backend(threads: int) -> Iterator[int]:
    """Yield what computes graphs on the CPU. Raises OSError where llama.cpp has no such thing."""
    by_type = libraries.symbol("ggml_backend_dev_by_type", _HANDLE, ctypes.c_int)
    registry_of = libraries.symbol("ggml_backend_dev_backend_reg", _HANDLE, _HANDLE)
    address_of = libraries.symbol(
        "ggml_backend_reg_get_proc_address", _HANDLE, _HANDLE, ctypes.c_char_p
    )
    create = libraries.symbol("ggml_backend_dev_init", _HANDLE, _HANDLE, ctypes.c_char_p)
    release = libraries.symbol("ggml_backend_free", None, _HANDLE)
    device = by_type(_CPU)
    set_threads = device and address_of(registry_of(device), b"ggml_backend_set_n_threads")
    backend = create(device, None) if set_threads else None
    if not backend:
        raise OSError("llama.cpp has no backend for the CPU")
    try:
        ctypes.CFUNCTYPE(None, _HANDLE, ctypes.c_int)(set_threads)(backend, threads)
        yield backend
    finally:
        release(backend)


class _Timer:
    """Measures products. Notices whether other programs had the cores meanwhile."""

    def __init__(self, backend: int, threads: int) -> None:
        self._backend = backend
        self._threads = threads
        self._began = time.perf_counter()
        self._seconds = self._cpu_seconds = 0.0

    @property
    def disturbed(self) -> bool:
        """Return whether other programs had the cores for a part of the time."""
        return self._cpu_seconds < MIN_CPU_SHARE * self._threads * self._seconds

    def rate(self, kind: GgmlType, passes: Sequence[Sequence[int]], nbytes: int) -> float:
        """Return the bytes per second of products of a vector with matrices of one type.

        Args:
            kind: The type.
            passes: Where the matrices of each pass begin.
            nbytes: How much memory there is for each.
        """
        compute = libraries.symbol("ggml_backend_graph_compute", ctypes.c_int, _HANDLE, _HANDLE)
        rates = []
        for starts in passes:
            with _products(kind, starts, nbytes) as (graph, multiplied):
                began, cpu_began = time.perf_counter(), time.process_time()
                compute(self._backend, graph)
                seconds = time.perf_counter() - began
                self._cpu_seconds += time.process_time() - cpu_began
            self._seconds += seconds
            rates.append(multiplied / seconds)
            if self.disturbed or time.perf_counter() - self._began > MAX_SECONDS:
                break
        return median(rates)


@contextmanager
def _products(kind: GgmlType, starts: Sequence[int], nbytes: int) -> Iterator[tuple[int, int]]:
    """Yield a graph of products of a vector with matrices, and the bytes of all of them."""
    create = libraries.symbol("ggml_init", _HANDLE, InitParams)
    release = libraries.symbol("ggml_free", None, _HANDLE)
    wrap = libraries.symbol("ggml_backend_cpu_buffer_from_ptr", _HANDLE, _HANDLE, ctypes.c_size_t)
    place = libraries.symbol("ggml_backend_tensor_alloc", ctypes.c_int, *[_HANDLE] * 3)
    release_buffer = libraries.symbol("ggml_backend_buffer_free", None, _HANDLE)
    weights = create(InitParams(WEIGHTS_MEMORY, None, True))
    graph = create(InitParams(GRAPH_MEMORY, None, False))
    buffer = wrap(starts[0], starts[-1] + nbytes - starts[0])
    rows = nbytes // kind.nbytes(COLUMNS)
    matrices = [_tensor(weights, kind, rows) for _ in starts]
    try:
        for matrix, start in zip(matrices, starts, strict=True):
            place(buffer, matrix, start)
        yield _graph(graph, matrices), len(starts) * kind.nbytes(rows * COLUMNS)
    finally:
        release_buffer(buffer)
        release(graph)
        release(weights)


def _graph(context: int, matrices: Sequence[int]) -> int:
    """Return a graph that multiplies each matrix with a vector."""
    multiply = libraries.symbol("ggml_mul_mat", *[_HANDLE] * 4)
    add = libraries.symbol("ggml_build_forward_expand", None, _HANDLE, _HANDLE)
    data = libraries.symbol("ggml_get_data", _HANDLE, _HANDLE)
    graph: int = libraries.symbol("ggml_new_graph", _HANDLE, _HANDLE)(context)
    vector = _tensor(context, GgmlType.F32, 1)
    ctypes.memset(data(vector), 0, GgmlType.F32.nbytes(COLUMNS))
    for matrix in matrices:
        add(graph, multiply(context, matrix, vector))
    return graph


def _tensor(context: int, kind: GgmlType, rows: int) -> int:
    new = libraries.symbol(
        "ggml_new_tensor_2d", _HANDLE, _HANDLE, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
    )
    found: int = new(context, int(kind), COLUMNS, rows)
    return found
