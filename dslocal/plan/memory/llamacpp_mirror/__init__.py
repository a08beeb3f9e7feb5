"""Mirror llama.cpp's graphs and their allocator, in sizes alone, for machines that are not here.

On a machine that is here llama.cpp itself is asked (:mod:`dslocal.engine.sizing`); its answers are
what this package is tested against, to the byte. Functions carry the names that llama.cpp gives
them and say in which file it has them.
"""

from __future__ import annotations

LLAMA_CPP_COMMIT = "0c1e57098"
"""The commit of ggml-org/llama.cpp that is mirrored: the one in llama-cpp-python 0.3.36."""
