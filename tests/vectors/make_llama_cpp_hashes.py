"""Hashes of what llama.cpp's two steps make of the tests' checkpoints, for
tests/convert/test_identity.py.

    DSLOCAL_ORACLE=FOLDER PYTHONPATH=tests python tests/vectors/make_llama_cpp_hashes.py

FOLDER as tests/support/checkpoints/oracle.py says. Writes tests/vectors/llama_cpp_hashes.json: case
and recipe to the sha256 of all tensors. Cases that it already has are kept; delete it to make all
of them again.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from support.checkpoints.imatrices import write_imatrix
from support.checkpoints.oracle import (
    CASES,
    IMATRIX_CASES,
    PLAIN,
    REQUANTIZED,
    REQUANTIZED_TO,
    V4_CASES,
    V4_DRAFTERS,
    V4_PLAIN,
    V4_WITH_IMATRIX,
    WITH_IMATRIX,
    Case,
    convert,
    requantize,
    two_steps,
    write_source,
)
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.gguf.reading import contents, digest, layout_digest

OUT = Path(__file__).with_name("llama_cpp_hashes.json")
ORIGIN = (
    "convert_hf_to_gguf.py, then llama-quantize, of the llama.cpp that llama-cpp-python"
    " 0.3.36 ships; made by make_llama_cpp_hashes.py"
)
# the MTP layer's own, equal to the trunk's: dslocal leaves them out
COPIES = ("nextn.embed_tokens", "nextn.shared_head_head")


def hashes(case: Case, recipes: tuple[str, ...], *, imatrix: bool) -> dict[str, str]:
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = write_checkpoint(folder / "checkpoint", **case.arguments)
        for recipe in recipes:
            matrix = write_imatrix(folder / "imatrix.gguf", checkpoint) if imatrix else None
            _, tensors = contents(two_steps(case, checkpoint, folder, recipe, matrix))
            found[recipe] = digest(tensors, without=COPIES)
    return found


def requantized_hashes(case: Case, sources: tuple[str, ...]) -> dict[str, str]:
    """Return the hashes of what llama-quantize makes of GGUFs, by the types of both.

    The GGUFs are dslocal's, whose tensors are those of llama.cpp's converter.
    """
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = write_checkpoint(folder / "checkpoint", **case.arguments)
        imatrix = write_imatrix(folder / "imatrix.gguf", checkpoint)
        for source in sources:
            model = write_source(checkpoint, folder / f"{source}.gguf", source)
            for recipe in REQUANTIZED_TO:
                matrix = imatrix if recipe == "IQ2_XXS" else None
                made = contents(requantize(model, folder / "made.gguf", recipe, matrix))
                found[f"{source} {recipe}"] = digest(made[1]) + layout_digest(made[0])
    return found


def drafter_hash(case: Case) -> str:
    """Return the hash of V4's draft model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = write_checkpoint(folder / "checkpoint", **case.arguments)
        out = convert(checkpoint, folder / "o.gguf", "bf16", drafter=V4_DRAFTERS[case.kind])
        header, tensors = contents(out)
        return digest(tensors) + layout_digest(header)


def layout_hash(case: Case) -> str:
    """Return the hash of the order in which the converter writes tensors and keys."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = write_checkpoint(folder / "checkpoint", **case.arguments)
        return layout_digest(
            contents(convert(checkpoint, folder / "o.gguf", "bf16"))[0], without=COPIES
        )


def main() -> None:
    known = (
        json.loads(OUT.read_text(encoding="utf-8"))
        if OUT.exists()
        else {"plain": {}, "imatrix": {}}
    )
    plain = {
        case.name: known["plain"].get(case.name) or hashes(case, PLAIN, imatrix=False)
        for case in CASES
    }
    with_imatrix = {
        case.name: known["imatrix"].get(case.name) or hashes(case, WITH_IMATRIX, imatrix=True)
        for case in IMATRIX_CASES
    }
    for case in V4_CASES:
        plain[case.name] = known["plain"].get(case.name) or hashes(case, V4_PLAIN, imatrix=False)
    for case in V4_CASES[:1]:
        with_imatrix[case.name] = known["imatrix"].get(case.name) or hashes(
            case, V4_WITH_IMATRIX, imatrix=True
        )
    drafters = {case.name: drafter_hash(case) for case in V4_CASES}
    ordered = [case for case in CASES if case.kind == "deepseek-v32"]
    layouts = {case.name: layout_hash(case) for case in (*V4_CASES, *ordered)}
    requantized = known.get("requantized") or {
        kind: requantized_hashes(case, sources) for kind, (case, sources) in REQUANTIZED.items()
    }
    found = {
        "origin": ORIGIN,
        "plain": plain,
        "imatrix": with_imatrix,
        "drafters": drafters,
        "layouts": layouts,
        "requantized": requantized,
    }
    OUT.write_text(
        json.dumps(found, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
