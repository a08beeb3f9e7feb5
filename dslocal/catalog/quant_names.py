"""Names of quantizations, where they are written: in models.yaml, in the inventory, in file names.

:mod:`dslocal.convert` knows which of them it can write.
"""

from __future__ import annotations

import re

from dslocal.gguf.header import GgufHeader, main_type

GUESSED_BIT = 1024  # of general.file_type: llama.cpp guessed it
# A key of models.yaml: "Q4_K_M", "V4-IQ2".
NAME = "[A-Z][A-Z0-9_-]{1,31}"
# What an installed model is called after the colon, whatever program made the file: "UD-Q4_K_XL".
LABEL = "[A-Za-z0-9][A-Za-z0-9._-]{0,31}"
# A part of the name of a published file, in upper case: "DEEPSEEK-R1-Q4_K_M-00001-OF-00009".
IN_FILE_NAME = r"(?<![A-Z0-9])(I?Q\d_[A-Z0-9_]+?|BF16|F16|F32)(?=[.\-]|$)"
# The end of what other programs call a model: "deepseek-r1:7b-q4_K_M", "R1-fp16".
IN_NAME = r"(?:v4-i?q[23]|(?:(?:ud|i1)[-._]?)?(?:i?q\d\w*|tq\d_\d|bf16|fp?16|f32|mxfp4\w*))"
AT_END = rf"[-._ ]{IN_NAME}$"
# Names that other programs use for a quantization, or for any of them.
OTHER_NAMES = {"FP16": "F16", "LATEST": ""}


def is_quant_name(text: str) -> bool:
    """Return whether ``text`` may be a quantization in models.yaml."""
    return re.fullmatch(NAME, text) is not None


def is_quant_label(text: str) -> bool:
    """Return whether ``text`` may be the quantization of an installed model."""
    return re.fullmatch(LABEL, text) is not None


def quant_in_file_name(path: str) -> str:
    """Return the quantization that a GGUF file's name contains; empty where it has none."""
    name = path.rsplit("/", 1)[-1].removesuffix(".gguf").upper()
    found = re.findall(IN_FILE_NAME, name, re.ASCII)
    return found[-1] if found else ""


def without_quant(name: str) -> str:
    """Return a model's name in another program without the quantization at its end."""
    return re.sub(AT_END, "", name, flags=re.IGNORECASE)


def is_quant_spelling(text: str) -> bool:
    """Return whether ``text`` is a quantization as other programs spell it: "q4_K_M", "fp16"."""
    return re.fullmatch(IN_NAME, text, re.IGNORECASE) is not None


def normal_quant(text: str) -> str:
    """Return a quantization in our spelling: "q4_K_M" becomes "Q4_K_M"; "latest" means any."""
    upper = text.upper()
    if upper in OTHER_NAMES:
        return OTHER_NAMES[upper]
    return upper if is_quant_spelling(text) else text


def is_quant_of_file(quant: str, path: str) -> bool:
    """Return whether a GGUF file's name says that it is in ``quant``, such as "UD-Q4_K_XL"."""
    wanted = quant.upper()
    if quant_in_file_name(path) == wanted:
        return True
    words = re.escape(wanted).replace("_", "[_-]")
    return re.search(rf"(?<![A-Z0-9]){words}(?![A-Z0-9_])", path.upper()) is not None


def quant_of_header(header: GgufHeader) -> str:
    """Return what a GGUF file says its quantization is, else the type of most weights."""
    import dslocal.convert as converter

    number = header.integer("general.file_type", -1) & ~GUESSED_BIT
    names = {recipe.file_type: recipe.name for recipe in reversed(list(converter.RECIPES.values()))}
    return names.get(number) or main_type(header) or "unknown"
