"""llama.cpp's calls that hand over a model's hidden states, which are not among its stable ones.

Those of multi-token prediction are bound by llama-cpp-python (``llama_cpp.llama_cpp_ext``). Those
that DSpark needs are exported and not bound: they are found here by their C++ names. Source:
llama.cpp, src/llama-ext.h.
"""

from __future__ import annotations

import ctypes
import functools
from types import ModuleType
from typing import Any

from dslocal.errors import EngineError
from dslocal.gguf import libraries

# As the Itanium ABI (Linux, macOS) and Microsoft's compiler spell each call.
SET_LAYER_INPUT = (
    "_Z30llama_set_embeddings_layer_inpP13llama_contextjb",
    "?llama_set_embeddings_layer_inp@@YAXPEAUllama_context@@I_N@Z",
)
GET_LAYER_INPUT = (
    "_Z30llama_get_embeddings_layer_inpP13llama_contextj",
    "?llama_get_embeddings_layer_inp@@YAPEAMPEAUllama_context@@I@Z",
)
TARGET_LAYERS = (
    "_Z28llama_model_target_layer_idsPK11llama_model",
    "?llama_model_target_layer_ids@@YAPEBHPEBUllama_model@@@Z",
)
TARGET_LAYER_COUNT = (
    "_Z30llama_model_target_layer_ids_nPK11llama_model",
    "?llama_model_target_layer_ids_n@@YAIPEBUllama_model@@@Z",
)


class LayerInputs:
    """Reads what enters layers of a model while it is evaluated.

    A layer has the number that llama.cpp gives it; the number of layers stands for what leaves the
    last one.
    """

    def __init__(self) -> None:
        """Find the calls.

        Raises:
            EngineError: if this build lacks them.
        """
        context, floats = ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)
        layer, ids = ctypes.c_uint32, ctypes.POINTER(ctypes.c_int32)
        self._set = _call(SET_LAYER_INPUT, None, context, layer, ctypes.c_bool)
        self._get = _call(GET_LAYER_INPUT, floats, context, layer)
        self._ids = _call(TARGET_LAYERS, ids, ctypes.c_void_p)
        self._count = _call(TARGET_LAYER_COUNT, ctypes.c_uint32, ctypes.c_void_p)

    def target_layers(self, model: Any) -> tuple[int, ...]:
        """Return the layers of the target that ``model``, llama.cpp's own, reads."""
        return tuple(self._ids(model)[: self._count(model)])

    def hand_over(self, context: Any, layer: int, *, on: bool) -> None:
        """Have ``context``, llama.cpp's own, hand over what enters a layer, or stop it."""
        self._set(context, layer, on)

    def rows(self, context: Any, layer: int) -> Any:
        """Return a pointer to what entered a layer in the last batch: float32, row by row."""
        return self._get(context, layer)


@functools.cache
def mtp_calls() -> ModuleType:
    """Return the bindings of llama.cpp's calls for MTP.

    Raises:
        EngineError: if this build lacks them.
    """
    try:
        from llama_cpp import llama_cpp_ext
    except (ImportError, AttributeError) as e:
        raise EngineError(f"this llama.cpp does not support multi-token prediction: {e}") from e
    found: ModuleType = llama_cpp_ext
    return found


def _call(names: tuple[str, ...], restype: Any, *argtypes: Any) -> Any:
    """Return the function that has one of ``names``."""
    for name in names:
        try:
            return libraries.symbol(name, restype, *argtypes)
        except AttributeError:
            continue
    raise EngineError(
        f"this llama.cpp cannot draft with DSpark: it lacks {names[0]}",
        hint="install the llama-cpp-python that dslocal requires with pip",
    )
