"""A GGUF of random weights in DeepSeek-V3's shape and with its 129,280 tokens: ``python
tests/benchmarks/v3_vocabulary.py FILE [GB]``.

Layers are those of v3_shape.py, GB of them in FP8 (0.9 by default), as Q8_0. The output is scaled
so that logits are about as peaked as a trained model's: with deviation 3, a nucleus of 0.95 at
temperature 0.6 has tens of tokens, not tens of thousands.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from dslocal.gguf import libraries

libraries.require()  # before numpy

import numpy as np  # noqa: E402
from support.checkpoints.damage import convert_to  # noqa: E402
from support.gguf.gguf_changes import Parts, parts_of, put, tokens  # noqa: E402
from v3_shape import HIDDEN, write_v3_shape  # noqa: E402

VOCABULARY, CONTEXT = 129_280, 16_384
BLOCK = np.dtype([("scale", np.float16), ("values", np.int8, 32)])  # Q8_0
STEPS = 40  # of a block's integers in one standard deviation
DEVIATION = {
    "token_embd.weight": 0.02,
    "output.weight": 3 / HIDDEN**0.5,
}  # vectors of length HIDDEN**0.5 come to it


def write_v3_vocabulary(path: Path, gigabytes: float = 0.9) -> Path:
    """Writes the file; it is kept when it is there already."""
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        checkpoint = write_v3_shape(Path(work) / "checkpoint", gigabytes)
        convert_to(checkpoint, Path(work) / "small.gguf")
        parts = parts_of(Path(work) / "small.gguf")
    tokens(
        lambda words: [*words, *(b"word%d" % number for number in range(VOCABULARY - len(words)))]
    )(parts)
    _more_kinds(parts)
    put("deepseek2.vocab_size", VOCABULARY)(parts)
    put("deepseek2.context_length", CONTEXT)(parts)
    r = np.random.default_rng(0)
    for name, deviation in DEVIATION.items():
        blocks = np.empty(VOCABULARY * HIDDEN // 32, BLOCK)
        blocks["scale"] = deviation / STEPS
        blocks["values"] = np.clip(
            r.standard_normal((len(blocks), 32), np.float32) * STEPS, -127, 127
        ).astype(np.int8)
        parts.tensors[name].shape, parts.tensors[name].data = (HIDDEN, VOCABULARY), blocks.tobytes()
    parts.tensors["output_norm.weight"].data = np.ones(HIDDEN, "<f4").tobytes()
    new = path.with_name(path.name + ".new")
    parts.write(new)
    return new.rename(path)


def _more_kinds(parts: Parts) -> None:
    """All the new tokens are ordinary ones."""
    kind, data = parts.metadata["tokenizer.ggml.token_type"]
    missing = VOCABULARY - int.from_bytes(data[4:12], "little")
    parts.metadata["tokenizer.ggml.token_type"] = (
        kind,
        data[:4]
        + VOCABULARY.to_bytes(8, "little")
        + data[12:]
        + (1).to_bytes(4, "little") * missing,
    )


if __name__ == "__main__":
    print(write_v3_vocabulary(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.9))
