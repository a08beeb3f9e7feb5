"""GGUF files: headers, ggml's tensor types, split files, and the handle on llama.cpp's libraries.

Does not know models, machines or prompts. Importing it loads neither numpy nor llama_cpp; what
calls into the library is in :mod:`dslocal.gguf.libraries`.
"""

from .header import (
    DEFAULT_ALIGNMENT,
    GgufHeader,
    GgufTensor,
    fingerprint,
    join_headers,
    main_type,
    parse_header,
    read_header,
)
from .header_fields import Value
from .parts import (
    MAX_PARTS,
    PartName,
    first_part,
    is_first_part,
    model_stem,
    parse_part_name,
    read_parts,
)
from .tensor_names import layer_of, name_in_layer, tensor_class
from .tensor_types import GgmlType

__all__ = [
    "DEFAULT_ALIGNMENT",
    "MAX_PARTS",
    "GgmlType",
    "GgufHeader",
    "GgufTensor",
    "PartName",
    "Value",
    "fingerprint",
    "first_part",
    "is_first_part",
    "join_headers",
    "layer_of",
    "main_type",
    "model_stem",
    "name_in_layer",
    "parse_header",
    "parse_part_name",
    "read_header",
    "read_parts",
    "tensor_class",
]
