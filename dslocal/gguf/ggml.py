"""The one handle on the shared libraries that llama-cpp-python ships, and ggml's tensor types.

Everything that calls into llama.cpp gets it here. llama_cpp is imported on first use, not with this
module: reading a GGUF header needs the table of types alone. On a CUDA machine llama_cpp must be
imported before numpy (the other order crashed in ``llama_init_from_model``), so the packages that
use numpy call :func:`require` in their ``__init__``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any, NamedTuple

from dslocal.errors import EngineMissingError

ENGINE_LINE = (0, 3, 36)
# libgomp's own 300,000 make decoding 10 to 300 times slower once something else wants a core, and
# no faster alone
SPINS = "10000"
_NEEDED_CALLS = (
    "llama_memory_seq_rm",
    "llama_set_abort_callback",
    "llama_get_logits_ith",
    "llama_log_set",
)
_NEEDED_FIELDS = {
    "llama_model_params": ("load_mode", "load_mtp", "no_alloc"),
    "llama_context_params": ("n_outputs_max", "ctx_type", "ctx_other"),
}
_NEEDED_SYMBOLS = ("ggml_quantize_chunk", "ggml_quantize_init", "ggml_validate_row_data")


class GgmlType(IntEnum):
    """Tensor types by their number in ``enum ggml_type``."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39

    @property
    def block(self) -> int:
        """Elements in a block: a row's length must be a multiple of it."""
        return _LAYOUT[self].elements

    def nbytes(self, elements: int) -> int:
        """Bytes that ``elements`` take; ``elements`` must be a multiple of :attr:`block`."""
        return elements // _LAYOUT[self].elements * _LAYOUT[self].nbytes


class _Block(NamedTuple):
    elements: int
    nbytes: int


# elements and bytes of a block, from ggml-common.h; tests hold this table against the library's own
# answer
_LAYOUT: dict[GgmlType, _Block] = {
    GgmlType.F32: _Block(1, 4),
    GgmlType.F16: _Block(1, 2),
    GgmlType.BF16: _Block(1, 2),
    GgmlType.F64: _Block(1, 8),
    GgmlType.I8: _Block(1, 1),
    GgmlType.I16: _Block(1, 2),
    GgmlType.I32: _Block(1, 4),
    GgmlType.I64: _Block(1, 8),
    GgmlType.Q4_0: _Block(32, 18),
    GgmlType.Q4_1: _Block(32, 20),
    GgmlType.Q5_0: _Block(32, 22),
    GgmlType.Q5_1: _Block(32, 24),
    GgmlType.Q8_0: _Block(32, 34),
    GgmlType.IQ4_NL: _Block(32, 18),
    GgmlType.MXFP4: _Block(32, 17),
    GgmlType.Q2_K: _Block(256, 84),
    GgmlType.Q3_K: _Block(256, 110),
    GgmlType.Q4_K: _Block(256, 144),
    GgmlType.Q5_K: _Block(256, 176),
    GgmlType.Q6_K: _Block(256, 210),
    GgmlType.IQ1_S: _Block(256, 50),
    GgmlType.IQ1_M: _Block(256, 56),
    GgmlType.IQ2_XXS: _Block(256, 66),
    GgmlType.IQ2_XS: _Block(256, 74),
    GgmlType.IQ2_S: _Block(256, 82),
    GgmlType.IQ3_XXS: _Block(256, 98),
    GgmlType.IQ3_S: _Block(256, 110),
    GgmlType.IQ4_XS: _Block(256, 136),
    GgmlType.TQ1_0: _Block(256, 54),
    GgmlType.TQ2_0: _Block(256, 66),
}


@functools.cache
def require() -> ModuleType:
    """llama_cpp's low-level bindings (``llama_cpp.llama_cpp``), imported once.

    Raises EngineMissingError when llama-cpp-python is absent, does not load, or lacks a call that
    dslocal makes.
    """
    line = ".".join(map(str, ENGINE_LINE))
    hint = f"pip install 'llama-cpp-python=={line}'"
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(
            "GOMP_SPINCOUNT", SPINS
        )  # libgomp reads it once, as llama_cpp loads it
    try:
        import llama_cpp
    except ImportError as e:
        raise EngineMissingError(f"llama-cpp-python is not installed ({e})", hint=hint) from e
    except (OSError, RuntimeError) as e:
        raise EngineMissingError(f"llama-cpp-python does not load: {e}", hint=hint) from e
    low: ModuleType = llama_cpp.llama_cpp
    missing = [name for name in _NEEDED_CALLS if not hasattr(low, name)]
    missing += [
        f"{struct}.{name}"
        for struct, names in _NEEDED_FIELDS.items()
        for name in names
        if name not in _fields(low, struct)
    ]
    missing += [name for name in _NEEDED_SYMBOLS if not hasattr(low._lib, name)]
    if missing:
        raise EngineMissingError(
            f"llama-cpp-python {version()} lacks {', '.join(missing)}; dslocal uses the low-level interface of {line}",
            hint=hint,
        )
    if _last_words:
        _hand_over(low, _last_words[-1])
    return low


LastWords = Callable[[str, bool], None]
_last_words: list[LastWords] = []


def before_abort(last_words: LastWords) -> None:
    """Has ``last_words`` called, in whatever thread, where llama.cpp would print why and abort the
    process; call this before it is loaded.

    It is told why, in a few words, and whether it is for want of memory. When it returns, the
    process is aborted.
    """
    _last_words.append(last_words)
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # it would start a debugger


def _hand_over(low: ModuleType, last_words: LastWords) -> None:
    """Sets ggml's own callback, and C++'s for exceptions that nobody catches. Where there is no
    such call, the signal alone tells.
    """

    def on_abort(message: bytes) -> None:
        text = re.sub(
            r"^\S*/(?=\S+:\d+: )", "", message.decode("utf-8", "replace")
        )  # not where llama.cpp was built
        last_words(f"llama.cpp gave up: {text}", "alloc" in text)

    def on_terminate() -> None:
        name = _exception_in_flight(low)
        memory = name == "std::bad_alloc"
        last_words(
            "llama.cpp ran out of memory" if memory else f"llama.cpp failed with {name}", memory
        )

    callbacks = (
        ctypes.CFUNCTYPE(None, ctypes.c_char_p)(on_abort),
        ctypes.CFUNCTYPE(None)(on_terminate),
    )
    _kept.extend(callbacks)
    for name, callback in zip(
        ("ggml_set_abort_callback", "_ZSt13set_terminatePFvvE"), callbacks, strict=True
    ):
        with contextlib.suppress(AttributeError):
            getattr(low._lib, name)(callback)


_kept: list[Any] = []  # callbacks, which must live as long as the process


def _exception_in_flight(low: ModuleType) -> str:
    """The type of the C++ exception that is handled, as std::bad_alloc. Source: the Itanium C++
    ABI, 2.9.4: a name after a pointer.
    """
    try:
        current = low._lib["__cxa_current_exception_type"]
    except AttributeError:
        return "an exception"
    current.restype = ctypes.c_void_p
    info = current()
    if not info:
        return "an exception"
    address = (
        ctypes.c_size_t.from_address(info + ctypes.sizeof(ctypes.c_void_p)).value & (1 << 63) - 1
    )  # the highest bit is a flag on Arm
    return re.sub(r"^St\d*", "std::", ctypes.string_at(address).decode("ascii", "replace"))


def symbol(name: str, restype: Any, *argtypes: Any) -> Any:
    """A function of libggml or libllama as a ctypes call, looked up through llama_cpp's own library
    handle.

    Opening libggml-base by its path instead can load a second copy, whose pointers mean nothing to
    the first.
    """
    function = getattr(require()._lib, name)
    function.restype, function.argtypes = restype, list(argtypes)
    return function


class Device(NamedTuple):
    """One of ggml's devices, as its backend describes it. Bytes; ``kind`` is a number of ``enum
    ggml_backend_dev_type``.
    """

    name: str
    description: str
    kind: int
    total: int
    free: int


GPU, INTEGRATED_GPU = 1, 2  # enum ggml_backend_dev_type; 0 is a CPU, 3 an accelerator of the CPU


def devices() -> list[Device]:
    """All devices of the backends that llama-cpp-python was built with. Raises EngineMissingError.

    Asking a CUDA device for its memory opens it, which takes some of that memory for as long as
    this process lives.
    """
    low = require()
    handle, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    get = symbol("ggml_backend_dev_get", handle, ctypes.c_size_t)
    texts = [
        symbol(f"ggml_backend_dev_{what}", ctypes.c_char_p, handle)
        for what in ("name", "description")
    ]
    kind, memory = (
        symbol("ggml_backend_dev_type", ctypes.c_int, handle),
        symbol("ggml_backend_dev_memory", None, handle, size, size),
    )
    before, data = low.llama_log_callback(), ctypes.c_void_p()
    silent = low.llama_log_callback(lambda level, text, data: None)
    low.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    low.llama_log_set(
        silent, data
    )  # backends introduce themselves at length when they are first asked
    try:
        found = []
        for device in map(get, range(symbol("ggml_backend_dev_count", ctypes.c_size_t)())):
            name, description = ((text(device) or b"").decode("utf-8", "replace") for text in texts)
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            memory(device, ctypes.byref(free), ctypes.byref(total))
            found.append(Device(name, description, kind(device), total.value, free.value))
        return found
    finally:
        low.llama_log_set(before, data)


def _fields(low: ModuleType, struct: str) -> set[str]:
    return {field[0] for field in getattr(getattr(low, struct, None), "_fields_", [])}


def version() -> str:
    """llama-cpp-python's own."""
    from importlib import metadata

    try:
        found = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return "of unknown version"
    return found if re.fullmatch(r"[\w.+]+", found) else "of unknown version"
