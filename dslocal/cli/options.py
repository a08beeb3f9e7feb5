"""Options that several commands share: one name, one explanation, one type each.

Groups of them are in :mod:`.option_groups`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dslocal.errors import UsageError
from dslocal.server.wire.logprobs import MAX_LOGPROBS

from .completion import values as completion_values
from .token_counts import MAX_COUNT, token_count, token_count_between

MODEL_HELP = "A name, a GGUF file or a checkpoint folder. [the last one used, else nano]"

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help=MODEL_HELP,
        show_default=False,
        autocompletion=completion_values.models,
    ),
]
ModelFlag = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help=MODEL_HELP,
        show_default=False,
        autocompletion=completion_values.models,
    ),
]
RequiredModelFlag = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="The model, in place of the argument.",
        show_default=False,
        autocompletion=completion_values.models,
    ),
]
PublishedArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help=(
            "A name that dslocal fit lists, with or without :QUANT; OWNER/NAME[:QUANT] or a page "
            "of the Hugging Face Hub; Ollama's NAME:TAG; or a URL."
        ),
        show_default=False,
        autocompletion=completion_values.published,
    ),
]
CheckpointArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A checkpoint folder, a name, OWNER/NAME on the Hugging Face Hub, or a URL with a "
        "SHA256SUMS file.",
        show_default=False,
    ),
]
GgufArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A GGUF file, the first part of one that is split, or a model on this machine.",
        show_default=False,
        autocompletion=completion_values.models,
    ),
]
FamilyFlag = Annotated[
    str | None,
    typer.Option(
        "--family",
        metavar="NAME",
        help="Prompt the model as this family, such as r1 or v3, where its file misleads. "
        "[recognized]",
        show_default=False,
        autocompletion=completion_values.families,
    ),
]
Think = Annotated[
    bool | None,
    typer.Option(
        "--think/--no-think",
        help="Make the model reason, or skip its reasoning. [as its vendor recommends]",
        show_default=False,
    ),
]
Effort = Annotated[
    str | None,
    typer.Option(
        "--effort",
        metavar="LEVEL",
        help="How thoroughly V4 reasons: none, low, high or max. [as the checkpoint's vendor "
        "recommends]",
        show_default=False,
        autocompletion=completion_values.efforts,
    ),
]
MathFlag = Annotated[
    bool | None,
    typer.Option(
        "--math/--no-math",
        help=(
            "Add the vendor's directive for mathematics, or leave it out. [added to mathematical "
            "questions]"
        ),
        show_default=False,
    ),
]
ThinkBudget = Annotated[
    int | None,
    typer.Option(
        "--think-budget",
        metavar="N",
        parser=token_count,
        help="End the reasoning after N tokens, and answer. [no limit]",
        show_default=False,
    ),
]
MinSpeed = Annotated[
    float | None,
    typer.Option(
        "--min-speed",
        metavar="N",
        help="Tokens per second that count as fast enough when dslocal chooses a quantization. [8]",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="The seed of sampling: the same seed gives the same answer. [random]",
        show_default=False,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        metavar="N",
        help="Sampling temperature; 0 always takes the likeliest token. [the model's]",
        show_default=False,
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        metavar="N",
        help="Keep the likeliest tokens whose probabilities add up to this. [the model's]",
        show_default=False,
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        metavar="N",
        help="Keep the K likeliest tokens, before top-p. [off]",
        show_default=False,
    ),
]
MinP = Annotated[
    float | None,
    typer.Option(
        "--min-p",
        metavar="N",
        help="Keep tokens that have at least this share of the likeliest one's probability. [off]",
        show_default=False,
    ),
]
PresencePenalty = Annotated[
    float | None,
    typer.Option(
        "--presence-penalty",
        metavar="N",
        help="Subtract this from the logit of every token that came before. [off]",
        show_default=False,
    ),
]
FrequencyPenalty = Annotated[
    float | None,
    typer.Option(
        "--frequency-penalty",
        metavar="N",
        help="Subtract this from a token's logit for each time that it came before. [off]",
        show_default=False,
    ),
]
RepeatPenalty = Annotated[
    float | None,
    typer.Option(
        "--repeat-penalty",
        metavar="N",
        help="Weaken tokens of the prompt and the answer: divide their logits by this, such as "
        "1.1. [off]",
        show_default=False,
    ),
]
LogitBias = Annotated[
    list[str] | None,
    typer.Option(
        "--logit-bias",
        metavar="TOKEN=VALUE",
        help="Add a number to the logit of a token, given by id or text; -100 bans it. Repeatable.",
        show_default=False,
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        "--stop",
        metavar="TEXT",
        help="End the answer before this text. Repeatable.",
        show_default=False,
    ),
]
Logprobs = Annotated[
    int | None,
    typer.Option(
        "--logprobs",
        metavar="N",
        help="With --json, print the log-probability of every token and of its N likeliest "
        "alternatives.",
        show_default=False,
    ),
]
Mtp = Annotated[
    str,
    typer.Option(
        "--mtp",
        metavar="MODE",
        help=(
            "Draft tokens with the model's MTP layer, DSpark or earlier text: auto (while that is "
            "faster), on or off; or name a GGUF file with the layer or DSpark."
        ),
        autocompletion=completion_values.choices("auto", "on", "off"),
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        parser=token_count,
        help="End after this many tokens of reasoning and answer. [the model's]",
        show_default=False,
    ),
]
EvaluatedTexts = Annotated[
    list[Path] | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Evaluate this plain text file. Repeatable. [conversations that ship with dslocal]",
        show_default=False,
    ),
]
EvaluatedTokens = Annotated[
    int | None,
    typer.Option(
        "--tokens",
        metavar="N",
        parser=token_count_between(1, MAX_COUNT),
        help="Evaluate at most N tokens. [all]",
        show_default=False,
    ),
]
Ctx = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        metavar="N",
        parser=token_count,
        help="Size of the context in tokens; 8k is 8192. [what fits, up to 32768]",
        show_default=False,
    ),
]
Kv = Annotated[
    str | None,
    typer.Option(
        "--kv",
        metavar="TYPE",
        help="Type of the KV cache: f16, q8_0 or q4_0. [the best that fits]",
        show_default=False,
        autocompletion=completion_values.choices("f16", "q8_0", "q4_0"),
    ),
]
GpuLayers = Annotated[
    int | None,
    typer.Option(
        "--n-gpu-layers",
        metavar="N",
        help="Put this many layers on the GPU. [all that fit]",
        show_default=False,
    ),
]
CpuMoe = Annotated[
    str | None,
    typer.Option(
        "--cpu-moe",
        metavar="LAYERS",
        help="Keep the experts of this many layers in RAM: a number, all or auto. [auto]",
        show_default=False,
    ),
]
StreamExperts = Annotated[
    str | None,
    typer.Option(
        "--stream-experts",
        metavar="MODE",
        help=(
            "Read experts from the SSD as the router chooses them: auto (where the model is "
            "larger than the RAM), on, off. [auto]"
        ),
        show_default=False,
        autocompletion=completion_values.choices("auto", "on", "off"),
    ),
]
Rpc = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        metavar="HOST:PORT,…",
        help="Split the model over these machines, which run dslocal worker.",
        show_default=False,
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="URL",
        help=(
            "Generate with vLLM, SGLang or llama-server at this URL; -m gives the engine's name of "
            "the model; none uses this machine. [none]"
        ),
        show_default=False,
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="PATH",
        help=(
            "With --engine: the model's tokenizer.json, its checkpoint folder, or a GGUF of it. "
            "[found on this machine]"
        ),
        show_default=False,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="NAME",
        help="Branch, tag or commit on the Hugging Face Hub. [the model's, else main]",
        show_default=False,
    ),
]
ReplaceFile = Annotated[bool, typer.Option("--force", help="Replace a file that is already there.")]
WithoutAsking = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask for confirmation.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def checked_logprobs(value: int | None, *, as_json: bool) -> int | None:
    """Return what ``--logprobs`` asks for.

    Raises:
        UsageError: The number is out of range, or the output is not JSON.
    """
    if value is None:
        return None
    if not as_json:
        raise UsageError("--logprobs needs --json", hint="add --json")
    if not 0 <= value <= MAX_LOGPROBS:
        raise UsageError(f"--logprobs: {value} is out of range", hint=f"0 to {MAX_LOGPROBS}")
    return value
