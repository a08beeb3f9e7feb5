"""The one handle on the shared libraries that llama-cpp-python ships.

Everything that calls into llama.cpp or ggml gets the function here. llama_cpp is imported on first
use, not with this module: reading a GGUF header does not need it. On a CUDA machine llama_cpp must
be imported before numpy, so the packages that use numpy call :func:`require` in their ``__init__``.
In the other order, a build crashed whose libggml-cuda was linked with a C++ library of its own:
libllama's regular expressions called into it (a backtrace of 2026-12-03, when a model was loaded).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from dslocal.errors import EngineMissingError

REQUIRED_VERSION = (0, 3, 36)  # of llama-cpp-python

# OpenMP threads of libgomp spin this often before they sleep. Its own 300,000 makes decoding 10 to
# 300 times slower as soon as another process wants a core, and no faster without one.
GOMP_SPINS = "10000"

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


@functools.cache
def require() -> ModuleType:
    """Return llama_cpp's low-level bindings (``llama_cpp.llama_cpp``), imported once.

    Raises:
        EngineMissingError: llama-cpp-python is absent, does not load, or lacks a call that dslocal
            makes.
    """
    required = ".".join(map(str, REQUIRED_VERSION))
    hint = f"pip install 'llama-cpp-python=={required}'"
    if "OMP_WAIT_POLICY" not in os.environ:
        # libgomp reads it once, when llama_cpp loads it
        os.environ.setdefault("GOMP_SPINCOUNT", GOMP_SPINS)
    try:
        import llama_cpp
    except ImportError as e:
        raise EngineMissingError(f"llama-cpp-python is not installed ({e})", hint=hint) from e
    except (OSError, RuntimeError) as e:
        raise EngineMissingError(f"llama-cpp-python does not load: {e}", hint=hint) from e
    low: ModuleType = llama_cpp.llama_cpp
    missing = _missing(low)
    if missing:
        raise EngineMissingError(
            f"llama-cpp-python {version()} lacks {', '.join(missing)}; "
            f"dslocal uses the low-level interface of {required}",
            hint=hint,
        )
    if _abort_callbacks:
        _install_abort_callback(low, _abort_callbacks[-1])
    return low


def _missing(low: ModuleType) -> list[str]:
    """Return what dslocal needs of the bindings and these lack, by name."""
    missing = [name for name in _NEEDED_CALLS if not hasattr(low, name)]
    for struct, needed in _NEEDED_FIELDS.items():
        fields = _fields(low, struct)
        missing += [f"{struct}.{name}" for name in needed if name not in fields]
    missing += [name for name in _NEEDED_SYMBOLS if not hasattr(low._lib, name)]
    return missing


def _fields(low: ModuleType, struct: str) -> set[str]:
    return {field[0] for field in getattr(getattr(low, struct, None), "_fields_", [])}


def symbol(name: str, restype: Any, *argtypes: Any) -> Any:
    """Return a function of libggml or libllama as a ctypes call.

    It is looked up through llama_cpp's own library handle: opening libggml-base by its path can
    load a second copy, whose pointers mean nothing to the first.

    Args:
        name: The C function's name.
        restype: The ctypes type of its result.
        argtypes: The ctypes types of its arguments.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    function = getattr(require()._lib, name)
    function.restype, function.argtypes = restype, list(argtypes)
    return function


def version() -> str:
    """Return llama-cpp-python's version, or "of unknown version"."""
    from importlib import metadata

    try:
        found = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return "of unknown version"
    return found if re.fullmatch(r"[\w.+]+", found) else "of unknown version"


class AbortReason(NamedTuple):
    """Why llama.cpp gives up.

    Attributes:
        text: the reason in a few words.
        is_out_of_memory: whether memory ran out.
        hint: what would help, where more is known than llama.cpp says.
    """

    text: str
    is_out_of_memory: bool
    hint: str = ""


AbortCallback = Callable[[AbortReason], None]
AbortExplainer = Callable[[str], AbortReason | None]
_abort_callbacks: list[AbortCallback] = []
_abort_explainers: list[AbortExplainer] = []
_kept_alive: list[Any] = []  # ctypes callbacks, which must live as long as the process


def before_abort(callback: AbortCallback) -> None:
    """Register a function that is called where llama.cpp would print a reason and abort.

    Must be called before the library is loaded. It may be called from any thread; when it returns,
    the process is aborted.

    Args:
        callback: Takes the reason.
    """
    _abort_callbacks.append(callback)
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # it would start a debugger


def explain_aborts(explain: AbortExplainer) -> None:
    """Register a function that may know better than llama.cpp why it gives up.

    Args:
        explain: takes llama.cpp's words; returns None where it knows nothing. It is called in any
            thread, before the callback of :func:`before_abort`, and without one to print a line.
    """
    _abort_explainers.append(explain)
    if not _abort_callbacks:
        before_abort(_print_reason)
        _install_abort_callback(require(), _print_reason)


def _print_reason(reason: AbortReason) -> None:
    """Print why this process is about to be aborted: for programs that nothing supervises."""
    hint = f" ({reason.hint})" if reason.hint else ""
    os.write(2, f"dslocal: {reason.text}{hint}\n".encode())


def _install_abort_callback(low: ModuleType, callback: AbortCallback) -> None:
    """Set ggml's abort callback, and C++'s for exceptions that nobody catches.

    Where the library lacks such a call, the signal alone ends the process.
    """

    def on_abort(message: bytes) -> None:
        text = message.decode("utf-8", "replace")
        text = re.sub(r"^\S*/(?=\S+:\d+: )", "", text)  # without the folder it was built in
        known = (explain(text) for explain in _abort_explainers)
        reason = next((found for found in known if found), None)
        callback(reason or AbortReason(f"llama.cpp aborted: {text}", "alloc" in text))

    def on_terminate() -> None:
        name = _current_exception(low)
        if name == "std::bad_alloc":
            callback(AbortReason("llama.cpp ran out of memory", is_out_of_memory=True))
        else:
            callback(AbortReason(f"llama.cpp failed with {name}", is_out_of_memory=False))

    installed = {
        "ggml_set_abort_callback": ctypes.CFUNCTYPE(None, ctypes.c_char_p)(on_abort),
        "_ZSt13set_terminatePFvvE": ctypes.CFUNCTYPE(None)(on_terminate),
    }
    _kept_alive.extend(installed.values())
    for name, c_callback in installed.items():
        with contextlib.suppress(AttributeError):
            getattr(low._lib, name)(c_callback)


def _current_exception(low: ModuleType) -> str:
    """Return the type of the C++ exception that is being handled, such as std::bad_alloc.

    Source: the Itanium C++ ABI, 2.9.4: in a ``type_info``, the name follows a pointer.
    """
    try:
        current = low._lib["__cxa_current_exception_type"]
    except AttributeError:
        return "an exception"
    current.restype = ctypes.c_void_p
    info = current()
    if not info:
        return "an exception"
    name = ctypes.c_size_t.from_address(info + ctypes.sizeof(ctypes.c_void_p)).value
    name &= (1 << 63) - 1  # the highest bit is a flag on Arm
    return re.sub(r"^St\d*", "std::", ctypes.string_at(name).decode("ascii", "replace"))


GPU, INTEGRATED_GPU = 1, 2  # enum ggml_backend_dev_type; 0 is a CPU, 3 an accelerator of the CPU


class Device(NamedTuple):
    """One of ggml's devices, as its backend describes it.

    ``kind`` is a number of ``enum ggml_backend_dev_type``; ``total`` and ``free`` are bytes.
    """

    name: str
    description: str
    kind: int
    total: int
    free: int


def devices() -> list[Device]:
    """Return all devices of the backends that llama-cpp-python was built with.

    Asking a CUDA device for its memory opens it, which takes some of that memory for as long as
    this process lives.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    low = require()
    handle = ctypes.c_void_p
    count = symbol("ggml_backend_dev_count", ctypes.c_size_t)
    get = symbol("ggml_backend_dev_get", handle, ctypes.c_size_t)
    with _no_log(low):  # backends introduce themselves at length when they are first asked
        return [_device(get(number)) for number in range(count())]


def gpu_handle(number: int) -> int:
    """Return ggml's handle of a GPU of this machine.

    Args:
        number: which one, of those that are no CPU, in ggml's order.

    Raises:
        EngineMissingError: there is no such GPU any more.
    """
    handle: Any = ctypes.c_void_p
    get = symbol("ggml_backend_dev_get", handle, ctypes.c_size_t)
    kinds = [device.kind for device in devices()]
    gpus = [index for index, kind in enumerate(kinds) if kind in (GPU, INTEGRATED_GPU)]
    if number >= len(gpus):
        raise EngineMissingError(f"there is no GPU {number}")
    found: int = get(gpus[number])
    return found


def _device(device: int) -> Device:
    handle, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    name = symbol("ggml_backend_dev_name", ctypes.c_char_p, handle)
    description = symbol("ggml_backend_dev_description", ctypes.c_char_p, handle)
    kind = symbol("ggml_backend_dev_type", ctypes.c_int, handle)
    memory = symbol("ggml_backend_dev_memory", None, handle, size, size)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    memory(device, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=(name(device) or b"").decode("utf-8", "replace"),
        description=(description(device) or b"").decode("utf-8", "replace"),
        kind=kind(device),
        total=total.value,
        free=free.value,
    )


@contextlib.contextmanager
def _no_log(low: ModuleType) -> Iterator[None]:
    """Discard what llama.cpp logs meanwhile, then restore the callback that was set."""
    before, data = low.llama_log_callback(), ctypes.c_void_p()
    silent = low.llama_log_callback(lambda level, text, data: None)
    low.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    low.llama_log_set(silent, data)
    try:
        yield
    finally:
        low.llama_log_set(before, data)
