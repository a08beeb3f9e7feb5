"""Understand a model's name in whatever spelling it was copied: hub, Ollama, LM Studio, URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dslocal.catalog.inventory import InstalledModel, add_installed
from dslocal.catalog.locations import find_published
from dslocal.catalog.resolve import LocalCheckpoint, resolve_model
from dslocal.errors import NotFoundError, UsageError

REPO = "hf:owner/name-GGUF"
# What people paste, and repository, file and quantization that it names.
ON_THE_HUB = [
    ("owner/name-GGUF", REPO, "", ""),
    ("hf:owner/name-GGUF", REPO, "", ""),
    ("hf://owner/name-GGUF", REPO, "", ""),
    ("HF://owner/name-GGUF/", REPO, "", ""),
    ("hf.co/owner/name-GGUF", REPO, "", ""),
    ("HF.co/owner/name-GGUF/", REPO, "", ""),
    ("huggingface.co/owner/name-GGUF", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF/", REPO, "", ""),
    ("http://huggingface.co/owner/name-GGUF", REPO, "", ""),
    ("https://www.huggingface.co/owner/name-GGUF", REPO, "", ""),
    ("https://HuggingFace.co/owner/name-GGUF", REPO, "", ""),
    ("https://hf.co/owner/name-GGUF", REPO, "", ""),
    ("  https://huggingface.co/owner/name-GGUF ", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF.git", REPO, "", ""),
    ("git@hf.co:owner/name-GGUF.git", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF#files", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF?library=transformers", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF/tree/main", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF/discussions/3", REPO, "", ""),
    ("https://huggingface.co/api/models/owner/name-GGUF", REPO, "", ""),
    ("https://huggingface.co/models/owner/name-GGUF", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF/tree/v1.0", f"{REPO}@v1.0", "", ""),
    ("https://huggingface.co/owner/name-GGUF/commit/abc123", f"{REPO}@abc123", "", ""),
    ("https://huggingface.co/owner/name-GGUF/tree/refs%2Fpr%2F1", f"{REPO}@refs/pr/1", "", ""),
    ("https://huggingface.co/owner/name-GGUF/tree/refs/pr/1", f"{REPO}@refs/pr/1", "", ""),
    ("https://huggingface.co/owner/name-GGUF/blob/main/a.gguf", REPO, "a.gguf", ""),
    ("https://huggingface.co/owner/name-GGUF/raw/main/a.gguf", REPO, "a.gguf", ""),
    (
        "https://huggingface.co/owner/name-GGUF/resolve/main/x/a%20b.gguf?download=true",
        REPO,
        "x/a b.gguf",
        "",
    ),
    ("https://hf.co/owner/name-GGUF/resolve/v2/a.gguf#L1", f"{REPO}@v2", "a.gguf", ""),
    ("https://huggingface.co/owner/name-GGUF?show_file_info=a.gguf", REPO, "a.gguf", ""),
    ("hf://owner/name-GGUF/a.gguf", REPO, "a.gguf", ""),
    ("hf://owner/name-GGUF@v1/x/a.gguf", f"{REPO}@v1", "x/a.gguf", ""),
    ("owner/name-GGUF/a.gguf", REPO, "a.gguf", ""),
    ("hf.co/owner/name-GGUF:a.gguf", REPO, "a.gguf", ""),
    ("owner/name-GGUF:Q4_K_M", REPO, "", "Q4_K_M"),
    ("owner/name-GGUF:q4_k_m", REPO, "", "Q4_K_M"),
    ("hf.co/owner/name-GGUF:Q4_K_M", REPO, "", "Q4_K_M"),
    ("hf:owner/name-GGUF:Q8_0", REPO, "", "Q8_0"),
    ("https://huggingface.co/owner/name-GGUF:Q8_0", REPO, "", "Q8_0"),
    ("owner/name-GGUF:UD-Q4_K_XL", REPO, "", "UD-Q4_K_XL"),
    ("owner/name-GGUF:fp16", REPO, "", "F16"),
    ("owner/name-GGUF:latest", REPO, "", ""),
    ("owner/name-GGUF@q4_k_m", REPO, "", "Q4_K_M"),
    ("owner/name-GGUF@v1", f"{REPO}@v1", "", ""),
    ("ollama:hf.co/owner/name-GGUF:Q8_0", REPO, "", "Q8_0"),
    ("https://huggingface.co/owner/name-GGUF/tree/main/Q4_K_M", REPO, "", "Q4_K_M"),
    ("<https://huggingface.co/owner/name-GGUF>", REPO, "", ""),
    ('"hf.co/owner/name-GGUF"', REPO, "", ""),
    ("//huggingface.co/owner/name-GGUF", REPO, "", ""),
    ("https://huggingface.co:443/owner/name-GGUF", REPO, "", ""),
    ("HTTPS://HUGGINGFACE.CO/owner/name-GGUF", REPO, "", ""),
    ("hf download owner/name-GGUF", REPO, "", ""),
    ("models--owner--name-GGUF", REPO, "", ""),
    ("owner/name-GGUF:Q8_0\r", REPO, "", "Q8_0"),
    ("\u201cowner/name\u2011GGUF\u201d", REPO, "", ""),
    ("llama-server -hf owner/name-GGUF:Q4_K_M", REPO, "", "Q4_K_M"),
    ("hf:owner/name-GGUF@refs/pr/2", f"{REPO}@refs/pr/2", "", ""),
    ("hf:owner/name-GGUF@refs/pr/2/a.gguf", f"{REPO}@refs/pr/2", "a.gguf", ""),
    ("https://huggingface.co/owner/name-GGUF/blob/main/README.md", REPO, "", ""),
    ("https://huggingface.co/owner/name-GGUF/raw/main/config.json", REPO, "", ""),
    (
        "https://huggingface.co/owner/name-GGUF/tree/main/DeepSeek-R1-UD-IQ1_S",
        REPO,
        "",
        "UD-IQ1_S",
    ),
    (
        "hf:owner/name-GGUF/x/a-00003-of-00009.gguf",
        REPO,
        "x/a-00001-of-00009.gguf",
        "",
    ),
]
# Other programs' names, and the model of models.yaml and the quantization that they mean.
NAMES = [
    ("deepseek-r1:7b", "deepseek-r1-distill-qwen-7b", ""),
    ("DeepSeek-R1:7B", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek-r1:7b\r", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek\u2013r1:7b", "deepseek-r1-distill-qwen-7b", ""),
    ("\u201cdeepseek-r1:7b\u201d", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek-r1:\uff17b", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek-r1:7b\u200b", "deepseek-r1-distill-qwen-7b", ""),
    ("models--deepseek-ai--DeepSeek-R1", "deepseek-r1", ""),
    ("r1:7b", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek-r1-7b", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek r1 7b", "deepseek-r1-distill-qwen-7b", ""),
    ("deepseek-r1:7b-qwen-distill-q4_K_M", "deepseek-r1-distill-qwen-7b", "Q4_K_M"),
    ("deepseek-r1:7b-qwen-distill-fp16", "deepseek-r1-distill-qwen-7b", "F16"),
    ("deepseek-r1:7b@q8_0", "deepseek-r1-distill-qwen-7b", "Q8_0"),
    ("library/deepseek-r1:1.5b", "deepseek-r1-distill-qwen-1.5b", ""),
    ("registry.ollama.ai/library/deepseek-r1:14b", "deepseek-r1-distill-qwen-14b", ""),
    ("https://ollama.com/library/deepseek-r1:32b", "deepseek-r1-distill-qwen-32b", ""),
    ("ollama:deepseek-r1:70b", "deepseek-r1-distill-llama-70b", ""),
    ("deepseek-r1:8b-llama-distill-q4_K_M", "deepseek-r1-distill-llama-8b", "Q4_K_M"),
    ("deepseek-r1:latest", "deepseek-r1-0528-qwen3-8b", ""),
    ("https://ollama.com/library/deepseek-r1", "deepseek-r1-0528-qwen3-8b", ""),
    ("deepseek-r1:8b", "deepseek-r1-0528-qwen3-8b", ""),
    ("deepseek-r1:671b", "deepseek-r1-0528", ""),
    ("deepseek-r1", "deepseek-r1", ""),
    ("r1", "deepseek-r1", ""),
    ("R1-0528", "deepseek-r1-0528", ""),
    ("v3", "deepseek-v3", ""),
    ("V3.1", "deepseek-v3.1", ""),
    ("deepseek-v3:latest", "deepseek-v3", ""),
    ("deepseek-v3.1:671b-terminus-q4_K_M", "deepseek-v3.1-terminus", "Q4_K_M"),
    ("deepseek-coder:6.7b", "deepseek-coder-6.7b-instruct", ""),
    ("deepseek-coder-v2:16b", "deepseek-coder-v2-lite-instruct", ""),
    ("deepseek-coder-v2", None, ""),
    ("DeepSeek_R1_Distill_Qwen_7B", "deepseek-r1-distill-qwen-7b", ""),
    ("DeepSeek-R1-Distill-Qwen-7B-Q4_K_M", "deepseek-r1-distill-qwen-7b", "Q4_K_M"),
    ("deepseek-r1-distill-qwen-7b:q4_k_m", "deepseek-r1-distill-qwen-7b", "Q4_K_M"),
    ("deepseek/deepseek-r1-0528-qwen3-8b", "deepseek-r1-0528-qwen3-8b", ""),
    ("deepseek/deepseek-r1-0528-qwen3-8b@q4_k_m", "deepseek-r1-0528-qwen3-8b", "Q4_K_M"),
    ("deepseek-r1-0528-qwen3-8b@q4_k_m", "deepseek-r1-0528-qwen3-8b", "Q4_K_M"),
    ("deepseek/deepseek-r1:free", "deepseek-r1", ""),
    (
        "https://lmstudio.ai/models/deepseek/deepseek-r1-0528-qwen3-8b",
        "deepseek-r1-0528-qwen3-8b",
        "",
    ),
    ("https://ollama.com/library/deepseek-r1/tags", "deepseek-r1-0528-qwen3-8b", ""),
    ("https://ollama.com/library/deepseek-r1:7b/blobs/ab", "deepseek-r1-distill-qwen-7b", ""),
    ("ollama run deepseek-r1:7b", "deepseek-r1-distill-qwen-7b", ""),
    ("lms get deepseek-r1-distill-qwen-7b@q8_0", "deepseek-r1-distill-qwen-7b", "Q8_0"),
    ("deepseek-ai/DeepSeek-R1", "deepseek-r1", ""),
    ("hf.co/deepseek-ai/DeepSeek-R1:Q2_K", "deepseek-r1", "Q2_K"),
    ("https://huggingface.co/deepseek-ai/DeepSeek-V3-0324", "deepseek-v3-0324", ""),
]


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a working folder with nothing in them."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "origin", "file", "quant"), ON_THE_HUB)
def test_a_repository(text: str, origin: str, file: str, quant: str) -> None:
    found = find_published(text)
    assert found is not None
    assert (found.remote.origin, found.file, found.quant) == (origin, file, quant)


@pytest.mark.parametrize(("text", "name", "quant"), NAMES)
def test_a_name(text: str, name: str | None, quant: str) -> None:
    found = find_published(text)
    if name is None:
        assert found is None
        return
    assert found is not None
    assert (found.name, found.quant) == (name, quant)
    with pytest.raises(NotFoundError, match=f"^{name}[ :]") as caught:
        resolve_model(text)
    assert f"dslocal pull {name}" in caught.value.hint


@pytest.mark.parametrize("text", ["nano:latest", "nano@q8_0", "NANO:Q8_0", "ollama:nano"])
def test_what_ships(text: str) -> None:
    found = resolve_model(text)
    assert isinstance(found, LocalCheckpoint)
    assert found.name == "nano"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://huggingface.co/datasets/o/n", "datasets"),
        ("https://huggingface.co/spaces/o/n", "spaces"),
        ("https://huggingface.co/deepseek-ai", "names an owner but no model"),
        ("hf://o", "names an owner but no model"),
        ("https://huggingface.co/o/n/tree/main/onnx", "is a folder of the repository"),
        ("https://huggingface.co/-/..", "not a name on the hub"),
        ("https://modelscope.cn/models/deepseek-ai/DeepSeek-R1", "a page of ModelScope"),
        ("https://github.com/deepseek-ai/DeepSeek-R1", "a page of GitHub"),
        ("https://ollama.com/someone/deepseek-r1:7b", "a name that only Ollama knows"),
    ],
)
def test_pages_that_show_no_model(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find_published(text)


@pytest.mark.parametrize("text", ["https://hf-mirror.com/o/n", "hf-mirror.com/o/n/tree/main"])
def test_a_mirror_is_asked_itself(text: str) -> None:
    found = find_published(text)
    assert found is not None
    assert found.remote.origin == "hf:o/n"
    assert getattr(found.remote, "endpoint", None) == "https://hf-mirror.com"


def test_the_mirror_of_hf_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example:8443/")
    found = find_published("https://hub.example:8443/o/n/resolve/main/a.gguf")
    assert found is not None
    assert (found.remote.origin, found.file) == ("hf:o/n", "a.gguf")


def test_a_gguf_file_behind_a_url() -> None:
    found = find_published("https://example.org/models/a.gguf")
    assert found is not None
    assert (found.remote.origin, found.file) == ("https://example.org/models", "a.gguf")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("deepsek-r1", "deepseek-r1"),
        ("deepseek-r1-distil-qwen-7b", "deepseek-r1-distill-qwen-7b"),
        ("r1-qwen-7b", "deepseek-r1-distill-qwen-7b"),
        ("deepseek-r1:9b", "deepseek-r1-distill-qwen-7b"),
        ("coder-v2-lite-instrct", "deepseek-coder-v2-lite-instruct"),
        ("deepseek-v3.3", "deepseek-v3.2"),
        ("nanno", "nano"),
        ("DeepSeek-R1-Distill-Qwen-7B.gguf", "deepseek-r1-distill-qwen-7b"),
    ],
)
def test_what_is_not_understood_gets_the_nearest(text: str, near: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        resolve_model(text)
    suggested = caught.value.hint.removeprefix("did you mean ").partition("?")[0]
    assert near in suggested.split(" or ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("deepseek-chat", "hosted API"),
        ("deepseek/deepseek-reasoner", "hosted API"),
        ("deepseek-vl2", "reads images"),
        ("deepseek-ocr:3b", "reads images"),
        ("janus-pro-7b", "makes images"),
        ("deepseek-v4.1-flash", "does not run V4.1 yet; deepseek-v4-flash-0731"),
        ("DeepSeek-V4.1", "does not run V4.1 yet"),
        ("llama3:8b", "DeepSeek's models"),
        ("qwen2.5-coder:7b", "DeepSeek's models"),
    ],
)
def test_what_cannot_be_had_says_why(text: str, reason: str) -> None:
    with pytest.raises(NotFoundError, match=reason):
        resolve_model(text)


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_path_as_file_managers_copy_it(tmp_path: Path, host: str) -> None:
    file = tmp_path / "a b.gguf"
    file.write_bytes(b"GGUF")
    assert resolve_model(f"file://{host}{tmp_path}/a%20b.gguf") == file


INSTALLED = [
    ("hf:owner/name-GGUF@0123", "name-gguf", "Q4_K_M", "owner/name-GGUF:Q4_K_M"),
    ("hf:owner/name-GGUF@0123", "name-gguf", "Q4_K_M", "https://huggingface.co/owner/name-GGUF"),
    ("hf:owner/name-GGUF@0123", "name-gguf", "Q4_K_M", "hf.co/Owner/Name-GGUF:q4_k_m"),
    ("hf:owner/name-GGUF@0123", "name-gguf", "Q4_K_M", "hf://owner/name-GGUF/m.gguf"),
    ("ollama:deepseek-r1:7b", "deepseek-r1-7b", "Q4_K_M", "deepseek-r1:7b"),
    ("ollama:nano:latest", "mine", "Q4_K_M", "ollama:nano"),
    ("/x", "deepseek-r1-distill-qwen-7b", "Q4_K_M", "deepseek-r1:7b"),
    ("/x", "deepseek-r1-distill-qwen-7b", "Q4_K_M", "R1:7B-qwen-distill-q4_K_M"),
    ("/x", "deepseek-r1-distill-qwen-7b", "Q4_K_M", "deepseek-r1-distill-qwen-7b@q4_k_m"),
    ("/x", "deepseek-r1-distill-qwen-7b", "Q4_K_M", "DeepSeek_R1_Distill_Qwen_7B"),
]


@pytest.mark.parametrize(("origin", "name", "quant", "text"), INSTALLED)
def test_what_is_here_is_found_by_every_spelling(
    tmp_path: Path, origin: str, name: str, quant: str, text: str
) -> None:
    file = tmp_path / "m.gguf"
    file.touch()
    add_installed(InstalledModel(name, quant, file, (file,), 0, "imported", origin, 1.0))
    assert resolve_model(text) == file


@pytest.mark.parametrize("text", ["owner/name-GGUF:Q8_0", "hf:owner/name-GGUF/other.gguf"])
def test_another_quantization_of_a_repository_is_not_here(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.gguf"
    file.touch()
    origin = "hf:owner/name-GGUF@0123"
    add_installed(
        InstalledModel("name-gguf", "Q4_K_M", file, (file,), 0, "downloaded", origin, 1.0)
    )
    with pytest.raises(NotFoundError) as caught:
        resolve_model(text)
    assert f"dslocal pull {text}" in caught.value.hint
