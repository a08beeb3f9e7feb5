"""Check models.yaml strictly, and find dslocal's folders where they should be."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml
from support.cli.running import Run, python

import dslocal.convert as converter
from dslocal import catalog, home
from dslocal.errors import DslocalError, NotFoundError
from dslocal.home.paths import registry_file
from dslocal.prompts.families import FAMILIES

LIMIT_S = 0.02

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


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's entries are read from."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    home.config_dir().mkdir()
    return home.config_dir() / "models.yaml"


def test_what_ships() -> None:
    registry = catalog.load_registry()
    nano = registry["nano"]
    assert (nano.name, nano.quant, nano.licence) == ("nano", "Q8_0", "MIT")
    assert (nano.folder / "config.json").is_file()
    assert nano.config["hidden_size"] == 256
    assert len(registry) > 50


@pytest.mark.parametrize("model", catalog.load_registry().values(), ids=lambda model: model.name)
def test_every_entry_that_ships(model: catalog.ModelEntry) -> None:
    assert model.family in FAMILIES
    assert model.quant in converter.RECIPES
    assert model.active <= model.parameters
    assert model.context % 4096 == 0
    if model.local is None:
        assert (
            model.repository == f"deepseek-ai/{model.title}"
            or model.repository.lower() == f"deepseek-ai/{model.name}"
        )
        with pytest.raises(
            NotFoundError, match=f"{re.escape(model.name)} is not on this machine"
        ) as caught:
            _ = model.folder
        assert caught.value.hint == (
            f"dslocal pull {model.name} downloads it; dslocal fit {model.name} says what it needs"
        )


def test_a_good_entry(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(entry() + entry("n-2.5_b", HERE).split("\n", 1)[1])
    registry = catalog.load_registry(file)
    assert list(registry) == ["m", "n-2.5_b"]
    assert registry["m"] == catalog.ModelEntry(
        "m",
        "T",
        "MIT",
        "r1",
        "Q8_0",
        4096,
        1.5,
        0.5,
        "bf16",
        repository="some/Model",
        local=None,
        stated=SMALL,
    )
    assert registry["n-2.5_b"].folder == catalog.load_registry()["nano"].folder
    assert registry["n-2.5_b"].repository == ""


def test_what_an_entry_says_goes_before_its_shape(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        shaped(active=...).replace(
            "shape: s",
            "shape: s\n    parameters: 3\n    config: {hidden_size: 32, q_lora_rank: null}",
        )
    )
    found = catalog.load_registry(file)["m"]
    assert (found.parameters, found.active, found.context) == (3, 3, 4096)
    assert found.config == {**SMALL, "hidden_size": 32, "q_lora_rank": None}


def test_every_key_of_config_json_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    more: dict[str, object] = {
        "tie_word_embeddings": "true",
        "rms_norm_eps": "1e-05",
        "rope_theta": 1e6,
        "first_k_dense_replace": 0,
        "q_lora_rank": "~",
        "topk_method": "noaux_tc",
        "rope_scaling": {
            "type": "yarn",
            "factor": 40,
            "original_max_position_embeddings": 4096,
        },
    }
    file.write_text(config(**more))
    read = {**more, "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "q_lora_rank": None}
    assert catalog.load_registry(file)["m"].config == {**SMALL, **read}


def test_own_entries_win_and_may_use_the_shapes_that_ship(own: Path) -> None:
    shipped = catalog.load_registry()
    own.write_text(
        "models:\n  mine: {title: Mine, repository: me/Mine, licence: MIT, family: r1, quant:"
        " Q2_K, shape: v3}\n"
        "  deepseek-r1: {title: My R1, repository: me/R1, licence: MIT, family: r1, quant: Q2_K,"
        " shape: small}\n"
        f"shapes: {flow({'small': {**SIZES, 'config': SMALL}})}\n"
    )
    registry = catalog.load_registry()
    assert list(registry) == [*shipped, "mine"]
    assert registry["mine"].config == shipped["deepseek-v3"].config
    assert (registry["deepseek-r1"].title, registry["deepseek-r1"].config) == ("My R1", SMALL)
    assert registry["deepseek-v3"] == shipped["deepseek-v3"]


def test_own_entries_are_read_again_when_they_change(own: Path) -> None:
    own.write_text(entry("one"))
    assert "one" in catalog.load_registry()
    own.write_text(entry("another"))
    assert "another" in catalog.load_registry()
    assert "one" not in catalog.load_registry()
    own.unlink()
    assert "another" not in catalog.load_registry()


def test_broken_own_entries_are_an_error_that_names_them(
    own: Path, tmp_path: Path, run: Run
) -> None:
    own.write_text(entry(licens="MIT"))
    with pytest.raises(DslocalError, match=re.escape(f"{own}:13: m: licens: unknown key")):
        catalog.load_registry()
    home = {"DSLOCAL_HOME": str(tmp_path)}
    asked = run("ask", "hello", env=home)
    assert asked.returncode == 1
    assert asked.stderr.decode().startswith(f"dslocal: {own}:13: m: licens")
    assert run("--help", env=home).returncode == 0
    assert run("ask", "--help", env=home).returncode == 0


def test_own_entries_that_are_a_folder(own: Path) -> None:
    own.mkdir()
    with pytest.raises(DslocalError, match=re.escape(f"{own}: cannot be read")):
        catalog.load_registry()


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


def test_it_is_the_same_without_the_c_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = catalog.load_registry()
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    file = tmp_path / "models.yaml"
    file.write_bytes(registry_file().read_bytes())
    assert catalog.load_registry(file) == expected
    file.write_text("models: " + "[" * 100_000)
    with pytest.raises(DslocalError, match="too deep"):
        catalog.load_registry(file)


@pytest.mark.timed
def test_reading_what_ships_is_quick() -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        catalog.load_registry(registry_file())
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < (LIMIT_S if hasattr(yaml, "CBaseLoader") else 10 * LIMIT_S)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DslocalError, match=r"absent\.yaml: cannot be read"):
        catalog.load_registry(tmp_path / "absent.yaml")


def test_dslocal_home_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    assert [home.cache_dir(), home.config_dir(), home.state_dir()] == [
        tmp_path / name for name in ("cache", "config", "state")
    ]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DSLOCAL_HOME", "~/x")
    assert home.cache_dir() == tmp_path / "x" / "cache"


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_they_are_the_platform_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "DSLOCAL_HOME"):
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv("DSLOCAL_HOME", value)
    folders = [home.cache_dir(), home.config_dir(), home.state_dir()]
    assert all(folder.is_relative_to(tmp_path) and folder.name == "dslocal" for folder in folders)
    assert not any(folder.exists() for folder in folders)


def test_asking_for_folders_loads_nothing() -> None:
    program = (
        "import sys, dslocal.home as home; home.cache_dir(); print(*{'yaml',"
        " 'platformdirs', 'huggingface_hub'} & set(sys.modules))"
    )
    assert python(program, env={"DSLOCAL_HOME": "/tmp/x"}).stdout == "\n"
