"""What the headers in tests/vectors/headers/ say, but for those that a converter made:
vocabularies, and a row per file.

Keys and values were read from logs of real files (``origin``; README.md says the same); where no
log was found, ``origin`` says whose manner a row follows. Of a vocabulary only the special tokens
are kept, with their types, and a few letters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NORMAL = 1
CONTROL = 3
USER_DEFINED = 4
UNUSED = 5
Tokens = tuple[tuple[str, int], ...]
Key = str | int | float | bool | list[str]


def _typed(kind: int, words: str) -> Tokens:
    return tuple((word, kind) for word in words.split())


LETTERS = _typed(NORMAL, "! a b c Ġ Ċ Ġthe 你")
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
ENDS = _typed(CONTROL, f"{BOS} {EOS}")
FIM = "<｜fim▁hole｜> <｜fim▁begin｜> <｜fim▁end｜>"
TOOLS = _typed(
    CONTROL,
    "<｜tool▁calls▁begin｜> <｜tool▁calls▁end｜> <｜tool▁call▁begin｜> <｜tool▁call▁end｜>"
    " <｜tool▁outputs▁begin｜> "
    "<｜tool▁outputs▁end｜> <｜tool▁output▁begin｜> <｜tool▁output▁end｜> <｜tool▁sep｜>",
)
TURNS = _typed(CONTROL, f"{FIM} <｜User｜> <｜Assistant｜> <|EOT|>")
THINK = _typed(USER_DEFINED, "<think> </think>")
V3_BEGIN = (*ENDS, ("<｜▁pad▁｜>", CONTROL), *LETTERS, ("<｜place▁holder▁no▁797｜>", CONTROL))
V3_END = (*TURNS, *TOOLS)
QWEN_REST = _typed(
    CONTROL,
    "<|quad_start|> <|vision_start|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|repo_name|>",
)
VOCABULARIES: dict[str, tuple[str, Tokens]] = {  # the pre-tokenizer's name, and the tokens
    "v3": (
        "deepseek-v3",
        (
            *V3_BEGIN,
            *_typed(CONTROL, "<｜place▁holder▁no▁798｜> <｜place▁holder▁no▁799｜>"),
            *V3_END,
        ),
    ),
    "r1": ("deepseek-v3", (*V3_BEGIN, *THINK, *V3_END)),
    "r1-unsloth": ("deepseek-v3", (*V3_BEGIN, *THINK, *V3_END, ("<｜PAD▁TOKEN｜>", CONTROL))),
    "v4": (
        "joyai-llm",
        (*V3_BEGIN, *V3_END, *THINK, *_typed(USER_DEFINED, "｜DSML｜")),
    ),
    "v4.1": (
        "joyai-llm",
        (
            *V3_BEGIN,
            *V3_END,
            *THINK,
            *_typed(USER_DEFINED, "｜DSML｜"),
            *_typed(CONTROL, "<｜System｜>"),
        ),
    ),
    "v2": (
        "deepseek-llm",
        (
            *LETTERS,
            *ENDS,
            *_typed(CONTROL, f"{FIM} <｜completion｜> <｜User｜> <｜Assistant｜> <|EOT|>"),
            *TOOLS,
        ),
    ),
    "llm": (
        "deepseek-llm",
        (*LETTERS, *ENDS, *_typed(USER_DEFINED, "ø ö ú ÿ õ ÷"), ("[PAD100015]", UNUSED)),
    ),
    "coder": (
        "deepseek-coder",
        (*LETTERS, *ENDS, *_typed(USER_DEFINED, f"{FIM} <pad> <|User|> <|Assistant|> <|EOT|>")),
    ),
    "qwen": (
        "deepseek-r1-qwen",
        (
            *LETTERS,
            *_typed(CONTROL, f"{EOS} <｜User｜> <｜Assistant｜> {BOS} <|EOT|>"),
            *THINK,
            *QWEN_REST,
        ),
    ),
    "qwen3": (
        "qwen2",
        (
            *LETTERS,
            *_typed(CONTROL, f"{BOS} {EOS} <｜User｜> <｜Assistant｜> <|EOT|>"),
            *QWEN_REST,
            *THINK,
        ),
    ),
    "llama": (
        "llama-bpe",
        (
            *LETTERS,
            *_typed(CONTROL, f"{BOS} {EOS} <｜User｜> <｜Assistant｜>"),
            *THINK,
            ("<｜▁pad▁｜>", CONTROL),
        ),
    ),
    "prover": (
        "deepseek-llm",
        (*LETTERS, *ENDS, *_typed(CONTROL, f"{FIM} <｜User｜> <｜Assistant｜>")),
    ),
    "kimi": (
        "kimi-k2",
        (
            *LETTERS,
            *_typed(
                CONTROL, "[BOS] [EOS] <|im_end|> <|im_user|> <|im_assistant|> <|im_middle|> [PAD]"
            ),
        ),
    ),
    "glm": (
        "glm4",
        (*LETTERS, *_typed(CONTROL, "<|endoftext|> [gMASK] <sop> <|user|> <|assistant|>"), *THINK),
    ),
    "gigachat": (
        "gigachat",
        (*LETTERS, *_typed(CONTROL, "<unk> <s> </s> <|message_sep|> <|role_sep|>")),
    ),
    "llama-3": (
        "llama-bpe",
        (
            *LETTERS,
            *_typed(CONTROL, "<|begin_of_text|> <|end_of_text|> <|start_header_id|> <|eot_id|>"),
        ),
    ),
    "qwen2.5": (
        "qwen2",
        (*LETTERS, *_typed(CONTROL, "<|endoftext|> <|im_start|> <|im_end|>"), *QWEN_REST),
    ),
}

SHAPES: dict[str, tuple[str, dict[str, Key]]] = {  # the architecture, and its keys
    "671b": (
        "deepseek2",
        {
            "block_count": 61,
            "context_length": 163840,
            "embedding_length": 7168,
            "expert_count": 256,
        },
    ),
    "kimi": (
        "deepseek2",
        {
            "block_count": 61,
            "context_length": 131072,
            "embedding_length": 7168,
            "expert_count": 384,
        },
    ),
    "glm": (
        "deepseek2",
        {"block_count": 47, "context_length": 202752, "embedding_length": 2048, "expert_count": 64},
    ),
    "v4": (
        "deepseek4",
        {
            "block_count": 43,
            "context_length": 1048576,
            "embedding_length": 4096,
            "expert_count": 256,
        },
    ),
    "v4.1": (
        "deepseek41",
        {
            "block_count": 40,
            "context_length": 1048576,
            "embedding_length": 5120,
            "expert_count": 384,
        },
    ),
    "v3.2": (
        "deepseek32",
        {
            "block_count": 62,
            "context_length": 163840,
            "embedding_length": 7168,
            "expert_count": 256,
        },
    ),
    "236b": (
        "deepseek2",
        {
            "block_count": 60,
            "context_length": 163840,
            "embedding_length": 5120,
            "expert_count": 160,
        },
    ),
    "16b": (
        "deepseek2",
        {"block_count": 27, "context_length": 163840, "embedding_length": 2048, "expert_count": 64},
    ),
    "moe": (
        "deepseek",
        {"block_count": 28, "context_length": 4096, "embedding_length": 2048, "expert_count": 64},
    ),
    "qwen": (
        "qwen2",
        {
            "block_count": 28,
            "context_length": 131072,
            "embedding_length": 3584,
            "attention.head_count": 28,
        },
    ),
    "qwen3": (
        "qwen3",
        {
            "block_count": 36,
            "context_length": 131072,
            "embedding_length": 4096,
            "attention.head_count": 32,
        },
    ),
    "8b": (
        "llama",
        {
            "block_count": 32,
            "context_length": 131072,
            "embedding_length": 4096,
            "rope.freq_base": 500000.0,
        },
    ),
    "70b": (
        "llama",
        {
            "block_count": 80,
            "context_length": 131072,
            "embedding_length": 8192,
            "rope.freq_base": 500000.0,
        },
    ),
    "llm": (
        "llama",
        {
            "block_count": 30,
            "context_length": 4096,
            "embedding_length": 4096,
            "rope.freq_base": 10000.0,
        },
    ),
    "coder": (
        "llama",
        {
            "block_count": 32,
            "context_length": 16384,
            "embedding_length": 4096,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        },
    ),
}


@dataclass(frozen=True)
class Row:
    """``general``: keys without that prefix. ``template`` is a file in tests/vectors/templates.
    ``other``: keys written out.
    """

    file: str
    shape: str
    vocabulary: str
    origin: str
    general: dict[str, Key] = field(default_factory=dict)
    template: str = ""
    other: dict[str, Key] = field(default_factory=dict)


MODEL: dict[str, Key] = {"type": "model"}
UNSLOTH: dict[str, Key] = {
    **MODEL,
    "quantized_by": "Unsloth",
    "size_label": "256x20B",
    "repo_url": "https://huggingface.co/unsloth",
}


def _named(name: str, **keys: Key) -> dict[str, Key]:
    return {**MODEL, "name": name, **keys}


def _base(name: str, repository: str, organisation: str = "Deepseek Ai") -> dict[str, Key]:
    return {
        "base_model.count": 1,
        "base_model.0.name": name,
        "base_model.0.organization": organisation,
        "base_model.0.repo_url": f"https://huggingface.co/{repository}",
    }


def _unsloth(name: str, of: str, **keys: Key) -> dict[str, Key]:
    tags: dict[str, Key] = {"tags": ["deepseek", "unsloth", "transformers"], "languages": ["en"]}
    repository = "deepseek-ai/" + of.replace(" ", "-")
    return {
        **UNSLOTH,
        "name": name,
        "basename": name,
        "license": "mit",
        **_base(of, repository),
        **tags,
        **keys,
    }


IMATRIX: dict[str, Key] = {
    "quantize.imatrix.entries_count": 720,
    "quantize.imatrix.chunks_count": 60,
}
QWEN_DISTILL: dict[str, Key] = {"basename": "DeepSeek-R1-Distill-Qwen"}
MRADERMACHER: dict[str, Key] = {
    "general.url": "https://huggingface.co/mradermacher/"
    "DeepSeek-R1-Distill-Qwen-14B-Uncensored-GGUF",
    "general.source.url": "https://huggingface.co/nicoboss/DeepSeek-R1-Distill-Qwen-14B-Uncensored",
    "mradermacher.quantize_version": "2",
    "mradermacher.quantized_by": "mradermacher",
    "mradermacher.convert_type": "hf",
}
NO_LOG = "no log found; named as "
LLAMA_CPP = "llama.cpp's converter names the repository"
V31, LITE = "DeepSeek-V3.1", "DeepSeek-V2-Lite-Chat"
ROWS = (
    Row(
        "unsloth-r1",
        "671b",
        "r1-unsloth",
        "gpustack/gpustack#1107",
        {**UNSLOTH, "name": "DeepSeek R1 BF16"},
        "deepseek-r1-671b",
    ),
    Row(
        *(
            "unsloth-r1-0528",
            "671b",
            "r1",
            "a log of Unsloth's UD-Q3_K_XL loaded by ik_llama.cpp; see README.md on its template",
        ),
        *(_unsloth("Deepseek-R1-0528", "DeepSeek R1 0528"), "deepseek-r1-0528", IMATRIX),
    ),
    Row(
        *(
            "unsloth-v3-0324",
            "671b",
            "v3",
            "ikawrakow/ik_llama.cpp#394; its special tokens: a log of Unsloth's IQ2_XXS",
        ),
        *(
            _unsloth("Deepseek-V3-0324", "DeepSeek V3 0324", version="V3-0324"),
            "deepseek-v3-0324",
            IMATRIX,
        ),
    ),
    Row(
        "unsloth-v3.1",
        "671b",
        "r1",
        "a log of its UD-Q2_K_XL",
        _unsloth("Deepseek-V3.1", "DeepSeek V3.1"),
        "deepseek-v3.1",
        IMATRIX,
    ),
    Row(
        *("ubergarm-v3.1-terminus", "671b", "r1", "ikawrakow/ik_llama.cpp#805"),
        *(
            _named(
                "DeepSeek V3.1 Terminus Bf16 Safetensors",
                finetune="safetensors",
                basename=f"{V31}-Terminus",
            ),
            "deepseek-v3.1",
            IMATRIX,
        ),
    ),
    Row(
        *("ubergarm-v3-0324", "671b", "v3", "ikawrakow/ik_llama.cpp discussion of 25 March 2025"),
        *(
            _named("DeepSeek V3 0324", version="V3-0324", basename="DeepSeek", license="mit"),
            "deepseek-v3-0324",
        ),
    ),
    Row(
        *("thireus-r1-0528", "671b", "r1", "a log of a BF16 file split by tensor, ik_llama.cpp"),
        *(
            _named("DeepSeek R1 0528", version="0528", basename="DeepSeek-R1", license="mit"),
            "deepseek-r1-0528",
        ),
    ),
    Row(
        "fairydreaming-v3",
        "671b",
        "v3",
        "ggml-org/llama.cpp#10981",
        _named("Models Deepseek Ai DeepSeek V3 Bf16"),
        "deepseek-v3",
    ),
    Row(
        "ollama-r1-671b",
        "671b",
        "r1",
        "ollama/ollama#8599",
        {**MODEL, "size_label": "256x20B"},
        "deepseek-r1-671b-jan2025",
    ),
    Row(
        "nameless-v3",
        "671b",
        "v3",
        "made up: ollama-r1-671b with V3's vocabulary and template",
        {**MODEL},
        "deepseek-v3",
    ),
    Row("nameless-v3-0324", "671b", "v3", "made up, as nameless-v3", {**MODEL}, "deepseek-v3-0324"),
    Row("nameless-v3.1", "671b", "r1", "made up, as nameless-v3", {**MODEL}, "deepseek-v3.1"),
    Row("bare-r1-vocabulary", "671b", "r1", "made up: neither name nor template", {**MODEL}),
    Row("bare-v3-vocabulary", "671b", "v3", "made up: neither name nor template", {**MODEL}),
    Row("bare-v2-vocabulary", "236b", "v2", "made up: neither name nor template", {**MODEL}),
    Row("bare-llm-vocabulary", "llm", "llm", "made up: neither name nor template", {**MODEL}),
    Row(
        *("ollama-r1-7b", "qwen", "qwen", "likelovewant/ollama-for-amd#54"),
        *(
            _named("DeepSeek R1 Distill Qwen 7B", size_label="7B", **QWEN_DISTILL),
            "deepseek-r1-distill-jan2025",
        ),
    ),
    Row(
        *("ollama-r1-70b", "70b", "llama", "open-webui/open-webui#9788"),
        {
            **_named(
                "DeepSeek R1 Distill Llama 70B",
                organization="Deepseek Ai",
                basename="DeepSeek-R1-Distill-Llama",
                size_label="70B",
            ),
            **_base("DeepSeek R1 Distill Llama 70B", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
        },
        "deepseek-r1-distill-jan2025",
    ),
    Row(
        *(
            "mradermacher-r1-14b-uncensored",
            "qwen",
            "qwen",
            "a log of DeepSeek-R1-Distill-Qwen-14B-Uncensored.Q5_K_M, llama.cpp 4840",
        ),
        {
            **_named(
                "DeepSeek R1 Distill Qwen 14B Uncensored",
                finetune="Uncensored",
                size_label="14B",
                **QWEN_DISTILL,
            ),
            **_base("DeepSeek R1 Distill Qwen 14B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"),
        },
        *("deepseek-r1-distill-jan2025", MRADERMACHER),
    ),
    Row(
        *(
            "lmstudio-r1-0528-qwen3-8b",
            "qwen3",
            "qwen3",
            "a log of LM Studio with lmstudio-community's Q8_0",
        ),
        *(
            _named("DeepSeek R1 0528 Qwen3 8B", basename="DeepSeek-R1-0528-Qwen3", size_label="8B"),
            "deepseek-r1-0528",
        ),
    ),
    Row(
        "ollama-coder-v2-16b",
        "16b",
        "v2",
        "ollama/ollama#6199",
        {"name": "DeepSeek-Coder-V2-Lite-Instruct"},
        "deepseek-llm",
    ),
    Row(
        "mzwing-v2-lite-chat",
        "16b",
        "v2",
        "ggml-org/llama.cpp#7519",
        {"name": LITE},
        "deepseek-llm",
        IMATRIX,
    ),
    Row(
        "hash-v2-lite-chat",
        "16b",
        "v2",
        "ggml-org/llama.cpp#8068",
        {"name": "be9443d5eec410d7045ba7dcbe2e0f189f5dda9e"},
        "deepseek-llm",
    ),
    Row(
        "leafspark-v2-chat",
        "236b",
        "v2",
        "ggml-org/llama.cpp#7118",
        {"name": "Deepseek-V2-Chat"},
        "deepseek-llm",
    ),
    Row(
        *("v2.5-1210", "236b", "v2", "a log of DeepSeek-V2.5-1210-IQ3_XXS, ik_llama.cpp"),
        *(
            _named(
                "DeepSeek V2.5 1210", version="V2.5-1210", basename="DeepSeek", size_label="160x14B"
            ),
            "deepseek-v2.5",
        ),
    ),
    Row(
        "v2-chat-0628",
        "236b",
        "v2",
        NO_LOG + LLAMA_CPP,
        _named("DeepSeek V2 Chat 0628", basename="DeepSeek-V2"),
        "deepseek-v2-0628",
    ),
    Row(
        "coder-v2-0724",
        "236b",
        "v2",
        NO_LOG + LLAMA_CPP,
        _named("DeepSeek Coder V2 Instruct 0724"),
        "deepseek-v2.5",
    ),
    Row("opencodeinterpreter-ds", "coder", "coder", "ggml-org/llama.cpp#5688", {"name": "."}),
    Row(
        "ollama-coder",
        "coder",
        "coder",
        NO_LOG + "Ollama's deepseek-coder is said to be",
        {"name": "deepseek-ai"},
    ),
    Row(
        "thebloke-coder-6.7b",
        "coder",
        "coder",
        NO_LOG + "TheBloke's files",
        {"name": "deepseek-ai_deepseek-coder-6.7b-instruct"},
    ),
    Row(
        "llama.cpp-vocab-coder",
        "coder",
        "coder",
        "llama.cpp's models/ggml-vocab-deepseek-coder.gguf",
        {"name": "deepseek-coder"},
    ),
    Row(
        "llama.cpp-vocab-llm",
        "llm",
        "llm",
        "llama.cpp's models/ggml-vocab-deepseek-llm.gguf",
        {"name": "deepseek-llm"},
    ),
    Row(
        "thebloke-llm-67b",
        "llm",
        "llm",
        NO_LOG + "TheBloke's files",
        {"name": "deepseek-ai_deepseek-llm-67b-chat"},
    ),
    Row(
        "math-7b-rl",
        "llm",
        "llm",
        NO_LOG + LLAMA_CPP,
        _named("Deepseek Math 7b Rl", finetune="rl", basename="deepseek-math"),
    ),
    Row(
        "prover-v1.5-rl",
        "llm",
        "llm",
        NO_LOG + LLAMA_CPP,
        _named("DeepSeek Prover V1.5 RL", basename="DeepSeek-Prover"),
    ),
    Row(
        "prover-v2-7b",
        "llm",
        "prover",
        NO_LOG + LLAMA_CPP,
        _named("DeepSeek Prover V2 7B"),
        "deepseek-v3-0324",
    ),
    Row(
        "moe-16b-base",
        "moe",
        "llm",
        NO_LOG + LLAMA_CPP,
        _named("Deepseek Moe 16b Base", finetune="base", basename="deepseek-moe"),
    ),
    Row(
        "kimi-k2",
        "kimi",
        "kimi",
        "ggml-org/llama.cpp#14642",
        _named("Kimi K2 Instruct BF16", finetune="Instruct", basename="Kimi-K2"),
    ),
    Row(
        "glm-4.7-flash",
        "glm",
        "glm",
        "ggml-org/llama.cpp#19613",
        _named("Glm-4.7-Flash", basename="Glm-4.7-Flash"),
    ),
    Row(
        "gigachat-20b",
        "moe",
        "gigachat",
        "the architecture: ggml-org/llama.cpp#12652; the rest made up",
        _named("GigaChat 20B A3B"),
    ),
    Row(
        "v4-flash",
        "v4",
        "v4",
        "noonghunna/club-3090#1106",
        _named("DeepSeek V4 Flash 0731", size_label="256x8.4B"),
    ),
    *(
        Row(
            file,
            shape,
            shape,
            "no log found; named as llama.cpp's converter names the repository",
            name,
        )
        for file, shape, name in (
            ("v4-flash-preview", "v4", _named("DeepSeek V4 Flash", basename="DeepSeek-V4-Flash")),
            ("v4-pro-0813", "v4", _named("DeepSeek V4 Pro 0813", basename="DeepSeek-V4-Pro-0813")),
            ("v4-flash-vision", "v4", _named("DeepSeek V4 Flash Vision Exp")),
            ("v4-flash-base", "v4", _named("DeepSeek V4 Flash Base", finetune="Base")),
            ("v4.1-flash", "v4.1", _named("DeepSeek V4.1 Flash", basename="DeepSeek-V4.1-Flash")),
        )
    ),
    Row(
        "v4-nameless-0731",
        "v4",
        "v4",
        "made up: a file without a name, and llama.cpp's template",
        {},
        "llama-cpp-deepseek-v4-flash-0731",
    ),
    Row(
        "v4-nameless-preview",
        "v4",
        "v4",
        "made up: a file without a name, and llama.cpp's template",
        {},
        "llama-cpp-deepseek-v4",
    ),
    Row("v4-bare", "v4", "v4", "made up: a file that says nothing", {}),
    Row(
        "v3.2",
        "v3.2",
        "r1",
        "no log found; named as llama.cpp's converter names the repository",
        _named("DeepSeek V3.2", basename="DeepSeek-V3.2"),
    ),
    Row(
        "v3.2-speciale",
        "v3.2",
        "r1",
        "no log found; named as llama.cpp's converter names the repository",
        _named("DeepSeek V3.2 Speciale", basename="DeepSeek-V3.2-Speciale"),
    ),
    Row(
        "llama-3",
        "8b",
        "llama-3",
        "made up: Llama 3 by " + LLAMA_CPP,
        _named("Meta Llama 3 8B Instruct", basename="Meta-Llama-3"),
    ),
    Row(
        "qwen2.5",
        "qwen",
        "qwen2.5",
        "made up: Qwen2.5 by " + LLAMA_CPP,
        _named("Qwen2.5 7B Instruct", basename="Qwen2.5"),
    ),
)
