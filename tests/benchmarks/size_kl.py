"""Is a recipe solved for a size better than the stock recipe of that size? KL divergence from bf16,
on nano.

    python tests/benchmarks/size_kl.py [RECIPE …]

The text is nano's own kind: 2,000 tokens of answers that it writes itself, in bf16 at temperature
0.6. For each stock recipe the file is made, and one of --size with the same number of bytes;
printed are mean KL(bf16 || quantized) in nats a token.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano import questions

import dslocal.convert as converter
from dslocal import chat, prompts
from dslocal.catalog import resolve
from dslocal.engine import LlamaContext, LlamaModel

TOKENS = 2000


def log_probabilities(path: Path, texts: list[list[int]]) -> np.ndarray:
    """float64 ``[tokens, vocabulary]`` over all of ``texts``, each begun afresh."""
    rows = []
    with LlamaModel(path) as model, LlamaContext(model, 4096) as context:
        for ids in texts:
            for end in range(1, len(ids)):
                context.prefill(ids[:end])
                logits = context.logits().astype(np.float64)
                rows.append(logits - logits.max() - np.log(np.exp(logits - logits.max()).sum()))
    return np.array(rows)


def own_texts(path: Path) -> list[list[int]]:
    r = random.Random(7)
    texts: list[list[int]] = []
    with LlamaModel(path) as model, LlamaContext(model, 4096) as context:
        family = prompts.recognise_family(model.header).family
        while sum(map(len, texts)) < TOKENS:
            session = chat.Session(context, family, family.defaults)
            for _ in session.stream(questions.question(r)[0], len(texts)):
                pass
            texts.append(list(context.ids))
    return texts


def main(names: list[str]) -> None:
    found = resolve.resolve_model("nano")
    assert isinstance(found, resolve.LocalCheckpoint)
    checkpoint = converter.open_checkpoint(converter.FolderSource(found.folder))
    with tempfile.TemporaryDirectory() as folder:

        def make(recipe: converter.Recipe) -> Path:
            out = Path(folder) / f"{recipe.name}.gguf"
            converter.write_gguf(converter.plan_conversion(checkpoint, [recipe]), [out])
            return out

        exact = make(converter.recipe_named("BF16"))
        texts = own_texts(exact)
        reference = log_probabilities(exact, texts)
        print(
            "| recipe | bytes | KL | --size | bytes | KL | ratio |\n|---|---|---|---|---|---|---|"
        )
        for name in names:
            stock = make(converter.recipe_named(name))
            size = stock.stat().st_size
            solved = make(converter.SizedRecipe(f"{size}B", size))
            kl = [
                float((np.exp(reference) * (reference - log_probabilities(p, texts))).sum(1).mean())
                for p in (stock, solved)
            ]
            print(
                (
                    f"| {name} | {size:,} | {kl[0]:.5f} | {size}B | {solved.stat().st_size:,} |"
                    f" {kl[1]:.5f} | {kl[1] / kl[0]:.2f} |"
                ),
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K"])
