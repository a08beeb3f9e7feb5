"""Write files of models.yaml: good ones, and ones with any change."""

from __future__ import annotations

SMALL: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 320,
    "max_position_embeddings": 4096,
}
SIZES: dict[str, object] = {"context": 4096, "parameters": 1.5, "active": 0.5, "dtype": "bf16"}
TEXTS: dict[str, object] = {"title": "T", "licence": "MIT", "family": "r1", "quant": "Q8_0"}
GOOD: dict[str, object] = {**TEXTS, **SIZES, "repository": "some/Model", "config": SMALL}
HERE: dict[str, object] = {**TEXTS, **SIZES, "source": "bundled:nano"}


def flow(value: object) -> str:
    """``value`` on one line; text as it is, so that a test can write anything."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    return str(value)


def entry(name: str = "m", base: dict[str, object] = GOOD, /, **changes: object) -> str:
    """A file of one model, a key a line from line 3 on. ``...`` takes a key out."""
    fields = {**base, **changes}
    return f"models:\n  {name}:\n" + "".join(
        f"    {key}: {flow(value)}\n" for key, value in fields.items() if value is not ...
    )


def shaped(**changes: object) -> str:
    """A model with a shape, which begins in line 8 and has a key a line from line 9 on."""
    shape = {"config": SMALL, **SIZES, **changes}
    model = entry("m", {**TEXTS, "repository": "some/Model", "shape": "s"})
    return (
        model
        + "shapes:\n  s:\n"
        + "".join(f"    {key}: {flow(value)}\n" for key, value in shape.items() if value is not ...)
    )


def config(**changes: object) -> str:
    """A file of one model, whose config is in line 12 and has these changes."""
    fields = {**SMALL, **changes}
    return entry(config={key: value for key, value in fields.items() if value is not ...})
