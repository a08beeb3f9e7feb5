"""Check what models.yaml says of downloads: revision, weights, files, quants, ready-made GGUF."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import dslocal.convert as converter
from dslocal import catalog, home
from dslocal.catalog.downloads.offers import expected_header
from dslocal.errors import DslocalError
from dslocal.home.paths import registry_file

SHIPPED = catalog.load_registry(registry_file())
DS4 = "antirez/deepseek-v4-gguf"
CONFIG = (
    "{architectures: [LlamaForCausalLM], hidden_size: 64, intermediate_size: 128,"
    " num_hidden_layers: 2, num_attention_heads: 4, "
    "vocab_size: 320, max_position_embeddings: 4096}"
)
SIZES = "context: 4096, parameters: 1, dtype: bf16"
SHAPE = f"shapes:\n  s: {{{SIZES}, config: {CONFIG}%s}}\n"
BASE = (
    "models:\n  m:\n    title: T\n    licence: MIT\n    family: r1\n    repository:"
    " some/Model\n    shape: s\n    quant: %s\n"
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model(more: str = "", quant: str = "Q8_0", shape: str = "") -> str:
    """A file of one model, with ``more`` from line 9 on, and its shape after it."""
    return BASE % quant + "".join(f"    {line}\n" for line in more.splitlines()) + SHAPE % shape


def read(tmp_path: Path, content: str) -> catalog.ModelEntry:
    """Return the model ``m`` of a models.yaml with this content."""
    file = tmp_path / "models.yaml"
    file.write_text(content, encoding="utf-8")
    return catalog.load_registry(file)["m"]


def test_what_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, model())
    assert (found.revision, found.weights, found.gguf) == ("main", "safetensors", ())
    assert found.files == ("*.json", "*.safetensors", "*.jinja")
    assert found.quants == ("Q8_0", "Q4_K_M", "Q2_K")
    assert found.quants == catalog.DEFAULT_QUANTS


def test_what_is_said(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        model(
            f"revision: {COMMIT}\nweights: pytorch\nfiles: ['*.json', 'model-*.safetensors',"
            f" '[a-c]?.txt']\nquants: [BF16, Q8_0]\n"
            "gguf:\n  - repository: a/B-GGUF\n    files: {Q8_0: B-Q8_0.gguf, IQ4_XS:"
            " x/y.z/B+1-00001-of-00012.gguf}\n    mtp: true\n"
            "  - {repository: c/D, files: {UD-Q2_K: D-UD-Q2_K.gguf}, bytes: {UD-Q2_K: 12}}"
        ),
    )
    assert (found.revision, found.weights, found.quants) == (COMMIT, "pytorch", ("BF16", "Q8_0"))
    assert found.files == ("*.json", "model-*.safetensors", "[a-c]?.txt")
    assert found.gguf == (
        catalog.ReadyMade(
            "a/B-GGUF", {"Q8_0": "B-Q8_0.gguf", "IQ4_XS": "x/y.z/B+1-00001-of-00012.gguf"}, mtp=True
        ),
        catalog.ReadyMade("c/D", {"UD-Q2_K": "D-UD-Q2_K.gguf"}, nbytes={"UD-Q2_K": 12}),
    )
    assert dataclasses.fields(catalog.ReadyMade)[2].default is False


@pytest.mark.parametrize(
    "revision", ["main", "v1.0", "refs/pr/12", "some/branch-2_x", COMMIT, "x" * 100]
)
def test_revisions(tmp_path: Path, revision: str) -> None:
    assert read(tmp_path, model(f"revision: {revision}")).revision == revision


QUANTS = [
    ("a shape's", "", "Q8_0", ", quants: [Q6_K, Q8_0]", ("Q6_K", "Q8_0")),
    ("its own before its shape's", "quants: [Q8_0]", "Q8_0", ", quants: [Q6_K]", ("Q8_0",)),
    ("its own in its order", "quants: [Q2_K, Q8_0]", "q8_0", "", ("Q2_K", "Q8_0")),
    ("the model's among the usual", "", "Q5_K_M", "", ("Q8_0", "Q5_K_M", "Q4_K_M", "Q2_K")),
    (
        "the model's among its shape's",
        "",
        "IQ4_XS",
        ", quants: [Q8_0, Q4_K_M, Q3_K_M]",
        ("Q8_0", "Q4_K_M", "IQ4_XS", "Q3_K_M"),
    ),
    ("the model's above all", "", "BF16", "", ("BF16", "Q8_0", "Q4_K_M", "Q2_K")),
    ("one of a name that says nothing", "", "mine", "", ("Q8_0", "Q4_K_M", "Q2_K", "mine")),
    ("in lower case", "", "q4_k_m", "", ("Q8_0", "Q4_K_M", "Q2_K")),
]


@pytest.mark.parametrize(
    ("more", "quant", "shape", "expected"),
    [row[1:] for row in QUANTS],
    ids=[row[0] for row in QUANTS],
)
def test_quants(
    tmp_path: Path, more: str, quant: str, shape: str, expected: tuple[str, ...]
) -> None:
    assert read(tmp_path, model(more, quant, shape)).quants == expected


def test_own_entries_go_before_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    home.config_dir().mkdir()
    text = "title: T, licence: MIT, family: r1, quant: Q8_0, repository: me/X, shape: v3"
    (home.config_dir() / "models.yaml").write_text(
        f"models:\n  deepseek-v3.1: {{{text}, revision: mine}}\n  other: {{{text}}}\n"
    )
    registry = catalog.load_registry()
    assert (registry["deepseek-v3.1"].revision, registry["deepseek-v3.1"].gguf) == ("mine", ())
    assert registry["other"].quants == SHIPPED["deepseek-v3"].quants


def ready(files: str = "{Q8_0: a.gguf}", repository: str = "a/b") -> str:
    """In one line, 9."""
    return f"gguf: [{{repository: {repository}, files: {files}}}]"


BUNDLED = (
    "models:\n  m:\n    title: T\n    licence: MIT\n    family: r1\n    source:"
    " bundled:nano\n    quant: Q8_0\n"
)
REVISIONS = (
    "../main",
    "a/../b",
    "/main",
    "main/",
    "a//b",
    ".main",
    "-main",
    "main.lock",
    "main.",
    "a..b",
    "a b",
    "a@{1}",
    "a~1",
    "x" * 101,
    "refs/heads/main",
    "refs/pr/0",
    "refs/pr/x",
    "refs/pr/1/x",
    "'a\\b'",
)
PATTERNS = ("'a/*'", "'..'", "'.'", "''", "'a\\b'", "'a b'", "'é'", "'" + "a" * 101 + "'")
PLACES = (
    "/a.gguf",
    "../a.gguf",
    "a/../b.gguf",
    "a//b.gguf",
    "./a.gguf",
    "'a\\b.gguf'",
    "C:/a.gguf",
    "a.bin",
    ".gguf",
    "https://a.b/c.gguf",
    "'a b.gguf'",
    "a.gguf/b",
    "a..gguf",
)
PARTS = ("00002-of-00009", "00001-of-9", "1-of-9", "00001-of-00000", "000001-of-000009")
BAD = [
    *(
        (f"revision {name!r:.12}", f"revision: {name}", 9, ["m: revision", "is not a branch"])
        for name in REVISIONS
    ),
    ("revision is a number", "revision: 12", 9, ["m: revision", "text"]),
    ("revision is a list", "revision: [main]", 9, ["m: revision", "text"]),
    ("revision is empty", "revision:", 9, ["m: revision", "text"]),
    ("revision has an escape", 'revision: "a\\x1b"', 9, ["m: revision", "one line"]),
    ("weights of another kind", "weights: gguf", 9, ["m: weights", "safetensors or pytorch"]),
    ("weights are a list", "weights: [pytorch]", 9, ["m: weights", "text"]),
    *(
        (f"files {name!r:.12}", f"files:\n  - '*.json'\n  - {name}", 11, ["m: files", "pattern"])
        for name in PATTERNS
    ),
    ("files are text", "files: '*.json'", 9, ["m: files", "list of one or more"]),
    ("files are empty", "files: []", 9, ["m: files", "list of one or more"]),
    ("files are numbers", "files:\n  - 1", 10, ["m: files", "list of texts"]),
    ("files twice", "files:\n  - a\n  - b\n  - a", 12, ["m: files", "'a' occurs twice"]),
    ("quants lack the model's", "quants: [Q4_K_M]", 9, ["m: quants", "lacks 'Q8_0'"]),
    (
        "quants in lower case",
        "quants:\n  - Q8_0\n  - q4_k_m",
        11,
        ["m: quants", "'q4_k_m'", "Q4_K_M"],
    ),
    ("quants that are a path", "quants: [Q8_0, ../Q4]", 9, ["m: quants", "'../Q4'"]),
    ("quants are text", "quants: Q8_0", 9, ["m: quants", "list of one or more"]),
    ("quants are empty", "quants: []", 9, ["m: quants", "list of one or more"]),
    ("quants are lists", "quants: [[Q8_0]]", 9, ["m: quants", "list of texts"]),
    ("quants twice", "quants: [Q8_0, Q8_0]", 9, ["m: quants", "'Q8_0' occurs twice"]),
    ("gguf is a mapping", "gguf: {a/b: c}", 9, ["m: gguf", "list of one or more"]),
    ("gguf is empty", "gguf: []", 9, ["m: gguf", "list of one or more"]),
    ("gguf has text", "gguf:\n  - a/b", 10, ["m: gguf", "list of mappings"]),
    (
        "gguf with an unknown key",
        "gguf:\n  - repository: a/b\n    file: x",
        11,
        ["m: gguf: file", "known: bytes, files, mtp, repository"],
    ),
    (
        "gguf without a repository",
        "gguf:\n  - files: {Q8_0: a.gguf}",
        10,
        ["m: gguf: repository", "missing"],
    ),
    (
        "gguf with bytes of no file",
        "gguf:\n  - repository: a/b\n    files: {Q8_0: a.gguf}\n    bytes: {Q4_0: 1}",
        12,
        ["m: gguf: bytes", "'Q4_0'"],
    ),
    (
        "gguf with bytes that are not a number",
        "gguf:\n  - repository: a/b\n    files: {Q8_0: a.gguf}\n    bytes: {Q8_0: 1GB}",
        12,
        ["m: gguf: bytes: Q8_0", "integer"],
    ),
    ("gguf in no repository", ready(repository="b"), 9, ["m: gguf: repository", "OWNER/NAME"]),
    ("gguf that leads out", ready(repository="a/..b"), 9, ["m: gguf: repository", "OWNER/NAME"]),
    ("gguf without files", "gguf:\n  - repository: a/b", 10, ["m: gguf: files", "missing"]),
    ("gguf with no files", ready("{}"), 9, ["m: gguf: files", "empty"]),
    ("gguf with a list of files", ready("[a.gguf]"), 9, ["m: gguf: files", "mapping"]),
    ("gguf of no quantization", ready("{q8: a.gguf}"), 9, ["m: gguf: files: q8", "Q4_K_M"]),
    (
        "gguf with a quantization twice",
        ready("{Q8_0: a.gguf, Q8_0: b.gguf}"),
        9,
        ["'Q8_0'", "twice"],
    ),
    ("gguf with lists of files", ready("{Q8_0: [a.gguf]}"), 9, ["m: gguf: files: Q8_0", "text"]),
    (
        "gguf has mtp of text",
        "gguf:\n  - repository: a/b\n    files: {Q8_0: a.gguf}\n    mtp: yes",
        12,
        ["m: gguf: mtp", "true or false"],
    ),
    *(
        (
            f"gguf {path!r}",
            ready(f"{{Q8_0: {path}}}"),
            9,
            ["m: gguf: files: Q8_0", "inside the repository"],
        )
        for path in PLACES
    ),
    *(
        (
            f"gguf {part}",
            ready(f"{{Q8_0: a-{part}.gguf}}"),
            9,
            ["m: gguf: files: Q8_0", "first part"],
        )
        for part in PARTS
    ),
]


@pytest.mark.parametrize(
    ("more", "line", "named"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_bad_key_is_named_with_line_model_and_key(
    tmp_path: Path, more: str, line: int, named: list[str]
) -> None:
    with pytest.raises(DslocalError) as caught:
        read(tmp_path, model(more))
    said = f"{caught.value} {caught.value.hint}"
    assert said.startswith(f"{tmp_path / 'models.yaml'}:{line}: ")
    assert all(name in said for name in named), said
    assert str(caught.value).isprintable()


def test_a_bad_list_in_a_shape_is_named_although_nobody_uses_it(tmp_path: Path) -> None:
    with pytest.raises(DslocalError, match=re.escape("models.yaml:11: shapes: s: quants: 'q8'")):
        read(tmp_path, model("quants: [Q8_0]", shape=", quants: [q8]"))
    for key in ("revision: main", "weights: pytorch", "files: [a]", "gguf: []"):
        with pytest.raises(DslocalError, match="unknown key"):
            read(tmp_path, model(shape=f", {key}"))


@pytest.mark.parametrize(
    "more", ["revision: main", "weights: safetensors", "files: ['*.json']", ready()]
)
def test_what_is_here_is_not_downloaded(tmp_path: Path, more: str) -> None:
    with pytest.raises(DslocalError, match=r"models\.yaml:8: m: \w+: is not needed"):
        read(tmp_path, f"{BUNDLED}    {more}\n    {SIZES.replace(', ', chr(10) + '    ')}\n")


def test_what_is_here_has_quants_too(tmp_path: Path) -> None:
    assert read(
        tmp_path, f"{BUNDLED}    quants: [Q8_0]\n    {SIZES.replace(', ', chr(10) + '    ')}\n"
    ).quants == ("Q8_0",)


@pytest.mark.parametrize("entry", SHIPPED.values(), ids=lambda entry: entry.name)
def test_every_quantization_that_ships_is_known(entry: catalog.ModelEntry) -> None:
    assert entry.quant in entry.quants
    published = {quant for made in entry.gguf for quant in made.nbytes}
    assert set(entry.quants) <= set(converter.RECIPES) | published
    for made in entry.gguf:
        assert set(made.files) - set(converter.RECIPES) == set(made.nbytes)
        for quant, nbytes in made.nbytes.items():
            assert 0.995 < expected_header(entry, quant).file_size / nbytes < 1.005
    sizes = [expected_header(entry, quant).file_size for quant in entry.quants]
    assert sizes == sorted(sizes, reverse=True)  # best first


@pytest.mark.parametrize("entry", SHIPPED.values(), ids=lambda entry: entry.name)
def test_every_ready_made_file_that_ships_says_what_it_is(entry: catalog.ModelEntry) -> None:
    assert len({made.repository for made in entry.gguf}) == len(entry.gguf)
    for made in entry.gguf:
        if made.repository == DS4:
            continue
        assert made.repository.lower().endswith(f"{entry.name}-gguf")
        for quant, path in made.files.items():
            assert re.search(
                rf"{re.escape(entry.name)}[.-]{quant}(-00001-of-\d{{5}})?\.gguf$",
                path,
                re.IGNORECASE,
            )


def test_files_of_ds4_say_checkpoint_and_recipe() -> None:
    """Proves it for the repository whose names are recipes: two bits for experts, or their own."""
    entries = [entry for entry in SHIPPED.values() if any(m.repository == DS4 for m in entry.gguf)]
    assert len(entries) == 4
    for entry in entries:
        (made,) = (made for made in entry.gguf if made.repository == DS4)
        for quant, path in made.files.items():
            assert ("V4-Pro" if "pro" in entry.name else "V4-Flash") in path
            assert ("MXFP4Experts" if quant == "MXFP4" else "IQ2XXS-w2Q2K") in path
            assert "imatrix" in path or quant == "MXFP4"
            release = re.search(r"-(0731|0813)$", entry.name)
            assert path.endswith(f"-{release[1]}.gguf" if release else "-imatrix.gguf")


def test_what_can_be_had_in_no_way() -> None:
    pickled = {entry.name for entry in SHIPPED.values() if entry.weights == "pytorch"}
    assert pickled == {"deepseek-llm-7b-chat", "deepseek-llm-67b-base"}
    assert {name for name in pickled if not SHIPPED[name].gguf} == {"deepseek-llm-67b-base"}


MADE_FOR_MLA = {  # published after llama.cpp began to keep MLA's cache compressed, in April 2025
    "unsloth/DeepSeek-R1-0528-GGUF",
    "bartowski/deepseek-ai_DeepSeek-R1-0528-GGUF",
    "unsloth/DeepSeek-V3.1-GGUF",
}


def test_only_files_with_a_compressed_cache_are_offered() -> None:
    latent = [entry for entry in SHIPPED.values() if "kv_lora_rank" in entry.config]
    assert len(latent) > 20
    assert {made.repository for entry in latent for made in entry.gguf} == MADE_FOR_MLA
