"""The identity of this llama.cpp, so that two machines can compare theirs.

Tensors and operations travel as numbers, whose meaning changes between commits of llama.cpp; the
version of the protocol alone is not enough.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from dataclasses import dataclass

from dslocal.gguf import libraries

# RPC_PROTO_MAJOR_VERSION and its kin in ggml-rpc.h of the llama.cpp that REQUIRED_VERSION has.
PROTOCOL = (7, 0, 0)
# ggml's version there, GGML_OP_COUNT and GGML_TYPE_COUNT: nothing is read beyond the tables' ends.
GGML_VERSION = "0.25.3"
OPERATIONS = 101
TYPES = 43


@dataclass(frozen=True, slots=True)
class Identity:
    """A build of llama.cpp.

    Attributes:
        package: llama-cpp-python's version, each of which has one commit of llama.cpp.
        ggml: ggml's version.
        tables: hash of the names of all operations and types, in the order of their numbers; empty
            for another ggml than GGML_VERSION.
    """

    package: str
    ggml: str
    tables: str

    def __str__(self) -> str:
        """Return it for people."""
        return (
            f"llama-cpp-python {self.package} (ggml {self.ggml}, tables {self.tables[:8] or '?'})"
        )


@functools.cache
def own_identity() -> Identity:
    """Return which llama.cpp this installation has.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    version = (libraries.symbol("ggml_version", ctypes.c_char_p)() or b"").decode(
        "ascii", "replace"
    )
    return Identity(libraries.version(), version, _tables() if version == GGML_VERSION else "")


def _tables() -> str:
    """Return a hash of the meanings of the numbers that are sent."""
    operation = libraries.symbol("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
    kind = libraries.symbol("ggml_type_name", ctypes.c_char_p, ctypes.c_int)
    names = [operation(number) or b"" for number in range(OPERATIONS)]
    names += [kind(number) or b"" for number in range(TYPES)]
    return hashlib.sha256(b"\0".join(names)).hexdigest()[:16]
