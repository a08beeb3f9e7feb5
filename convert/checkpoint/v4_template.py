"""The chat template of DeepSeek V4, whose checkpoints have none.

The vendor publishes an encoder in Python instead, and two generations of it: V4-Flash-0731 and what
came after it shifted the levels of effort by one, so that the preview's text for "max" is theirs
for "high". A checkpoint's own encoder says which it is: it is looked at, never run, as sglang does
(sgl-project/sglang#33140). llama.cpp's converter goes by the folder's name. The templates are
llama.cpp's, models/templates/deepseek-ai-DeepSeek-V4.jinja and -V4-Flash-0731.jinja; MIT, © the
llama.cpp authors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dslocal.files import utf8_text

from .config import Config
from .source import Source

ARCHITECTURE = "DeepseekV4ForCausalLM"
ENCODER = "encoding/encoding_dsv4.py"
MAX_ENCODER = 1 << 20  # bytes
PREVIEW, SINCE_0731 = "deepseek-v4.jinja", "deepseek-v4-0731.jinja"
# a name that only the encoder of that generation defines
MARKS = {"REASONING_EFFORT_PROMPTS": SINCE_0731, "REASONING_EFFORT_MAX": PREVIEW}
# keys of config.json that came with the later generation, or shortly before it
LATER_KEYS = ("dspark_block_size", "vision_n_layers")
_FOLDER = Path(__file__).parent.parent / "templates"


def v4_template(source: Source, config: Config, notice: Callable[[str], None]) -> str | None:
    """Return the chat template of a V4 checkpoint; None for a Base model and for other models.

    Args:
        source: The files of the checkpoint.
        config: Its config.json.
        notice: Receives what the user should know.

    Raises:
        CheckpointError: The encoder cannot be read.
    """
    if config.architecture != ARCHITECTURE or config.text("expert_dtype", "fp4") == "fp8":
        return None
    file = _by_encoder(source)
    if file is None:
        is_later = any(config.has(key) for key in LATER_KEYS)
        file = SINCE_0731 if is_later else PREVIEW
        if is_later:
            notice(
                f"{ENCODER} is not in the checkpoint: the levels of effort of V4-Flash-0731 are "
                "assumed; V4-Flash-DSpark has those of the preview"
            )
    return (_FOLDER / file).read_text(encoding="utf-8")


def _by_encoder(source: Source) -> str | None:
    """Return the template that the checkpoint's own encoder speaks for, or None. See above."""
    if not source.exists(ENCODER) or source.size(ENCODER) > MAX_ENCODER:
        return None
    with source.open(ENCODER) as opened:
        text = utf8_text(opened.read(MAX_ENCODER))
    return next((file for mark, file in MARKS.items() if mark in text), None)
