"""An importance matrix of ``dslocal imatrix``, and hashes of what llama-quantize makes with it.

    DSLOCAL_ORACLE=FOLDER PYTHONPATH=tests python tests/vectors/make_matrix_hashes.py

FOLDER as tests/support/checkpoints/oracle.py says. Writes tests/vectors/moe.imatrix.gguf, which
other processors would round otherwise, and moe_imatrix_hashes.json: recipe to the sha256 of all
tensors. For tests/api/test_importance_oracle.py.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from support.checkpoints.oracle import measured_checkpoint, requantize, write_source
from support.checkpoints.tiny_models import CHUNK, TEXT
from support.gguf.reading import contents, digest

from dslocal.api.quantization.importance import ImatrixJob, make_imatrix
from dslocal.engine import LlamaModel
from dslocal.gguf.header import read_header
from dslocal.prompts import get_family

MATRIX = Path(__file__).with_name("moe.imatrix.gguf")
OUT = Path(__file__).with_name("moe_imatrix_hashes.json")
ORIGIN = (
    "llama-quantize --imatrix moe.imatrix.gguf of the llama.cpp that llama-cpp-python 0.3.36 ships;"
    " made by make_matrix_hashes.py"
)
RECIPES = ("IQ1_S", "IQ2_XXS", "IQ3_XXS", "Q2_K", "Q4_K_M", "IQ4_XS")


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = write_source(measured_checkpoint(folder / "checkpoint"), folder / "m.gguf", "F16")
        (folder / "text.txt").write_text(TEXT)
        texts = (folder / "text.txt",)
        job = ImatrixJob(
            model, read_header(model), get_family("llm"), MATRIX, texts, chunk_tokens=CHUNK
        )
        make_imatrix(job, LlamaModel, lambda done, of: None)
        hashes = {
            recipe: digest(contents(requantize(model, folder / "o.gguf", recipe, MATRIX))[1])
            for recipe in RECIPES
        }
    OUT.write_text(json.dumps({"origin": ORIGIN, **hashes}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
