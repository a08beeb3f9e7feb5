"""GGUF files: headers, ggml's tensor types, split files, and the handle on llama.cpp's libraries.

Does not know models, machines or prompts.
"""

from .header import (
    DEFAULT_ALIGNMENT,
    MAX_DEPTH,
    MAX_DIMS,
    MAX_ELEMENTS,
    GgufHeader,
    GgufTensor,
    fingerprint,
    join_headers,
    layer_of,
    main_type,
    parse_header,
    read_header,
    tensor_class,
)

__all__ = [
    "DEFAULT_ALIGNMENT",
    "MAX_DEPTH",
    "MAX_DIMS",
    "MAX_ELEMENTS",
    "GgufHeader",
    "GgufTensor",
    "fingerprint",
    "join_headers",
    "layer_of",
    "main_type",
    "parse_header",
    "read_header",
    "tensor_class",
]
