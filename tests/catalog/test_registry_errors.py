"""A models.yaml that is wrong is an error that names the line, the model and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.catalog.registry_files import (
    GOOD,
    HERE,
    SIZES,
    SMALL,
    TEXTS,
    config,
    entry,
    shaped,
)

from dslocal import catalog
from dslocal.errors import DslocalError

TREE = "models: " + "{a: " * 20 + "1" + "}" * 20
BAD = [
    ("unknown key", entry(licens="MIT"), 13, ["m", "'licens'", "known: active, aliases, config"]),
    *(
        (f"no {key}", entry(**{key: ...}), 2, ["m", key, "missing"])
        for key in (*TEXTS, "repository", "context", "parameters", "dtype")
    ),
    *((f"{key} is empty", entry(**{key: ""}), 3 + i, ["m", key]) for i, key in enumerate(GOOD)),
    *(
        (f"{key} is a number", entry(**{key: "8"}), 3 + i, ["m", key, "text"])
        for i, key in enumerate(TEXTS)
    ),
    *((f"{key} is a list", entry(**{key: "[a]"}), 3 + i, ["m", key]) for i, key in enumerate(GOOD)),
    *(
        (f"{key} is a mapping", entry(**{key: "{a: 1}"}), 3 + i, ["m", key])
        for i, key in enumerate({**TEXTS, **SIZES})
    ),
    *(
        (f"{key} is text", entry(**{key: "many"}), 3 + list(GOOD).index(key), ["m", key])
        for key in (*SIZES, "config")
    ),
    ("context is not whole", entry(context=4096.5), 7, ["m", "context", "integer"]),
    ("context is true", entry(context="true"), 7, ["m", "context", "integer"]),
    (
        "context is more than there are positions",
        entry(context=8192),
        7,
        ["m", "context", "8192", "max_position_embeddings"],
    ),
    ("parameters are 0", entry(parameters=0), 8, ["m", "parameters", "above 0"]),
    ("active is below 0", entry(active=-1), 9, ["m", "active", "above 0"]),
    ("parameters are not a number", entry(parameters=".nan"), 8, ["m", "parameters", "above 0"]),
    ("dtype is of another kind", entry(dtype="int4"), 10, ["m", "dtype", "bf16 or fp8"]),
    (
        "repository without an owner",
        entry(repository="DeepSeek-R1"),
        11,
        ["m", "repository", "OWNER/NAME"],
    ),
    ("repository leads out", entry(repository="a/../b"), 11, ["m", "repository", "OWNER/NAME"]),
    (
        "repository is an address",
        entry(repository="https://example.com/a"),
        11,
        ["m", "repository", "OWNER/NAME"],
    ),
    ("title has an escape", entry(title='"\\x1b[31m"'), 3, ["m", "title", "one line"]),
    ("title goes on and on", entry(title="T" * 500), 3, ["m", "title", "one line"]),
    (
        "repository and source",
        entry("m", HERE, repository="a/b"),
        11,
        ["m", "source", "repository"],
    ),
    (
        "source is of no kind",
        entry("m", HERE, source="nano"),
        11,
        ["m", "'nano'", "bundled:FOLDER"],
    ),
    ("source is of another kind", entry("m", HERE, source="ftp:nano"), 11, ["m", "'ftp:nano'"]),
    ("source without a folder", entry("m", HERE, source='"bundled:"'), 11, ["m", "'bundled:'"]),
    ("source leads out", entry("m", HERE, source="bundled:../x"), 11, ["m", "'bundled:../x'"]),
    ("source and config", entry("m", HERE, config=SMALL), 12, ["m", "config", "not needed"]),
    ("no config", entry(config=...), 2, ["m", "config", "architectures is missing"]),
    *(
        (f"no {key} in config", config(**{key: ...}), 12, ["m", "config", f"{key} is missing"])
        for key in SMALL
    ),
    (
        "unknown key in config",
        config(hidden_sizes=1),
        12,
        ["m: config", "'hidden_sizes'", "known: architectures"],
    ),
    ("hidden_size is text", config(hidden_size="big"), 12, ["m: config", "hidden_size", "integer"]),
    ("hidden_size is 0", config(hidden_size=0), 12, ["m: config", "hidden_size", "integer"]),
    (
        "hidden_size is null",
        config(hidden_size="null"),
        12,
        ["m: config", "hidden_size", "integer"],
    ),
    (
        "vocab_size in scientific notation",
        config(vocab_size="3e5"),
        12,
        ["m: config", "vocab_size", "integer"],
    ),
    ("rope_theta is text", config(rope_theta="1_000"), 12, ["m: config", "rope_theta", "number"]),
    (
        "tie_word_embeddings is yes",
        config(tie_word_embeddings="yes"),
        12,
        ["m: config", "tie_word_embeddings", "true or false"],
    ),
    ("topk_method is a number", config(topk_method=1), 12, ["m: config", "topk_method", "text"]),
    (
        "architectures is text",
        config(architectures="A"),
        12,
        ["m: config", "architectures", "list of one name"],
    ),
    (
        "two architectures",
        config(architectures="[A, B]"),
        12,
        ["m: config", "architectures", "list of one name"],
    ),
    (
        "unknown key in rope_scaling",
        config(rope_scaling="{kind: yarn}"),
        12,
        ["m: config: rope_scaling", "'kind'", "known: attention_factor"],
    ),
    (
        "rope_scaling is text",
        config(rope_scaling="yarn"),
        12,
        ["m: config", "rope_scaling", "mapping"],
    ),
    (
        "factor is text",
        config(rope_scaling="{factor: x}"),
        12,
        ["m: config: rope_scaling", "factor", "number"],
    ),
    ("unknown shape", entry(shape="s"), 13, ["m", "shape", "'s'", "known: none"]),
    ("shape is a list", entry(shape="[s]"), 13, ["m", "shape", "text"]),
    (
        "unknown key in a shape",
        shaped(title="T"),
        16,
        ["shapes: s", "'title'", "known: active, config"],
    ),
    (
        "a shape without config",
        shaped(config=...),
        10,
        ["shapes: s", "config", "architectures is missing"],
    ),
    ("a shape with a bad size", shaped(context="long"), 12, ["shapes: s", "context", "integer"]),
    ("neither shape nor entry has a size", shaped(dtype=...), 2, ["m", "dtype", "missing"]),
    ("a shape is text", entry() + "shapes:\n  s: t\n", 14, ["shapes", "s", "mapping"]),
    ("shapes are a list", entry() + "shapes: [s]\n", 13, ["shapes", "mapping"]),
    ("a name in upper case", entry("M"), 2, ["models", "M", "not a name"]),
    ("a name that leads out", entry("../m"), 2, ["models", "not a name"]),
    ("an empty name", entry("''"), 2, ["models", "not a name"]),
    ("entry is text", "models:\n  m: nano\n", 2, ["m", "mapping"]),
    ("entry is empty", "models:\n  m:\n", 2, ["m", "mapping"]),
    ("models is a list", "models:\n  - m\n", 1, ["models"]),
    ("models is empty", "models:\n", 1, ["models"]),
    ("no models", "shapes: {}\n", 1, ["models"]),
    ("unknown key at the top", entry() + "model: 1\n", 13, ["'model'", "known: models, shapes"]),
    ("a model twice", entry() + entry().split("\n", 1)[1], 13, ["'m'", "twice", "line 2"]),
    ("a key twice", entry() + "    title: U\n", 13, ["'title'", "twice", "line 3"]),
    (
        "a key twice in config",
        entry(config="{hidden_size: 1, hidden_size: 2}"),
        12,
        ["'hidden_size'", "twice"],
    ),
    ("an anchor", entry(title="&t T"), 3, ["anchors"]),
    ("an alias", entry(title="*t"), 3, ["aliases"]),
    ("a tag", entry(title="!!str T"), 3, ["tags"]),
    ("a Python object", "models: !!python/object/apply:os.getcwd []\n", 1, ["tags"]),
    ("a key that is a list", "? [a]\n: 1\n", 1, ["key"]),
    ("two documents", entry() + "---\n" + entry(), 13, ["second document"]),
    ("nested too deep", TREE, 1, ["too deep"]),
    # refused by libyaml in words of its own, or else by our limit
    ("a hundred thousand brackets", "models: " + "[" * 100_000, 1, []),
    ("empty", "", 1, ["mapping"]),
    ("a comment", "# nothing\n", 1, ["mapping"]),
    ("not YAML", "models: {\n", 2, ["cannot be read"]),
    ("a control character", "models: \x07\n", 0, ["cannot be read"]),
    ("not UTF-8", "models: \udcff\n", 0, ["cannot be read", "UTF-8"]),
    ("too long", "#" * (1 << 20) + "\n", 0, ["1,048,576"]),
]


@pytest.mark.parametrize(
    ("content", "line", "named"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_bad_file_is_named_with_line_model_and_key(
    tmp_path: Path, content: str, line: int, named: list[str]
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DslocalError) as caught:
        catalog.load_registry(file)
    said = f"{caught.value} {caught.value.hint}"
    assert said.startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert all(name in said for name in named)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DslocalError, match=r"absent\.yaml: cannot be read"):
        catalog.load_registry(tmp_path / "absent.yaml")
