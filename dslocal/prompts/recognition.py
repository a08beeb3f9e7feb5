"""Recognise the family of a GGUF by its own metadata, and say why.

Many people convert files, so no single key is relied on:

1. Architecture, special tokens and, for nano, shape must fit. A family that needs a token which is
   not there is out.
2. Among the families that are left, the name decides: what the file calls itself, or else the model
   that it says it was made from. If that is a base model, it decides nothing, because it says
   nothing about the turns of a model made from it.
3. If the name says nothing, the text of the chat template decides. It is only a hint, because
   people who convert a model may edit it.
4. If neither does, the first family that is left in the order of ``CAREFUL`` is the most careful
   reading, and ``why`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dslocal.errors import UnsupportedModelError, UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.plan.memory.dspark import is_dspark

from .families import CAREFUL, FAMILIES, Family
from .families.base import EOS

OWN_NAMES = (("general.name",), ("general.basename", "general.version", "general.finetune"))
ORIGINS = (
    "general.base_model.0.name",
    "general.base_model.0.repo_url",
    "general.source.url",
    "general.source.repo_url",
    "general.source.huggingface.repository",
)
MAX_NAME = 400  # characters that are looked at
MAX_TEMPLATE = 100_000  # characters that are looked at


@dataclass(frozen=True)
class Recognition:
    """The family of a GGUF.

    Attributes:
        family: The family.
        why: What decided.
        others: Names of families that it may also be, where nothing but care decided.
    """

    family: Family
    why: str
    others: tuple[str, ...] = ()


def recognise_family(header: GgufHeader, forced: str | None = None) -> Recognition:
    """Return the family of a GGUF, and why.

    Args:
        header: The file's header.
        forced: The name of a family that is taken whatever the file says.

    Raises:
        UnsupportedModelError: If no family fits.
        UsageError: If ``forced`` is not a family.
    """
    if forced is not None:
        return Recognition(get_family(forced), "it was asked for")
    tokens = set(header.tokens())
    possible = [family for family in FAMILIES.values() if _fits(family, header, tokens)]
    if not possible:
        raise _unsupported(header, tokens)
    found = _by_shape(possible) or _by_name(possible, header) or _by_template(possible, header)
    return found or _by_care(possible)


def family_of_name(name: str) -> Family | None:
    """Return the family of a model that is called ``name``, whatever else it is; None for none."""
    return _named(FAMILIES.values(), name[:MAX_NAME])


def get_family(name: str) -> Family:
    """Return the family called ``name``.

    Raises:
        UsageError: If there is none.
    """
    try:
        return FAMILIES[name.lower()]
    except KeyError:
        raise UsageError(
            f"no family is called {name!r:.40}", hint=f"known: {', '.join(FAMILIES)}"
        ) from None


def _fits(family: Family, header: GgufHeader, tokens: set[str]) -> bool:
    signs = family.signs
    return (
        header.architecture in signs.architectures
        and signs.tokens <= tokens
        and all(header.of_arch(key) == value for key, value in signs.shape.items())
    )


def _by_shape(possible: Iterable[Family]) -> Recognition | None:
    for family in possible:
        if family.signs.shape:
            return Recognition(family, "its shape")
    return None


def _by_name(possible: Sequence[Family], header: GgufHeader) -> Recognition | None:
    for keys in OWN_NAMES:
        name = " ".join(header.text(key)[:MAX_NAME] for key in keys).strip()
        family = _named(possible, name)
        if family:
            return Recognition(family, f"its name, {name[:60]!r}")
    for key in ORIGINS:
        name = header.text(key)[:MAX_NAME]
        family = _named(possible, name)
        if family and not family.is_base:
            return Recognition(family, f"what it was made from, {name[:60]!r}")
    return None


def _named(families: Iterable[Family], name: str) -> Family | None:
    """Return the first family whose name is in ``name``.

    Families whose name holds that of another stand before it.
    """
    # lower case, with single spaces for whatever separates words: deepseek v3 1 base
    words = re.sub(r"[\W_]+", " ", name.lower()).strip()
    for family in families:
        if family.signs.name and re.search(family.signs.name, words):
            return family
    return None


def _by_template(possible: Iterable[Family], header: GgufHeader) -> Recognition | None:
    template = header.text("tokenizer.chat_template")[:MAX_TEMPLATE]
    for family in possible:
        sign = family.signs.template
        if template and sign and re.search(sign, template):
            return Recognition(family, "its chat template; its name says nothing")
    return None


def _by_care(possible: Sequence[Family]) -> Recognition:
    careful = [family for family in CAREFUL if family in possible]
    chosen = careful[0] if careful else possible[0]
    others = tuple(
        family.name
        for family in careful
        if family is not chosen and not _is_outdone(family, careful)
    )
    why = "its special tokens, because neither its name nor its template says more"
    if others:
        why += f"; it may also be of {', '.join(others)}: choose with --family"
    return Recognition(chosen, why, others)


def _is_outdone(family: Family, others: Iterable[Family]) -> bool:
    """Return whether one of ``others`` has the tokens of ``family`` and more.

    As all of them are in the vocabulary, the file is hardly of ``family``.
    """
    return any(family.signs.tokens < other.signs.tokens for other in others)


def _unsupported(header: GgufHeader, tokens: set[str]) -> UnsupportedModelError:
    """Return the error for a file that fits no family."""
    name = header.text("general.name", "unnamed")[:60]
    architecture = repr(header.architecture[:40]) if header.architecture else "no architecture"
    if is_dspark(header):
        return UnsupportedModelError(
            f"{name!r} ({architecture}) is DSpark, a draft model, which cannot answer by itself",
            hint="use it with its DeepSeek-V4: --mtp FILE.gguf",
        )
    known = sorted({arch for family in FAMILIES.values() for arch in family.signs.architectures})
    if header.architecture not in known:
        lacking = f"their architectures are {', '.join(known)}"
    elif EOS.token not in tokens:
        lacking = "its vocabulary is not one of DeepSeek's"
    else:
        lacking = "its special tokens fit no family"
    return UnsupportedModelError(
        f"{name!r} ({architecture}) is not a DeepSeek model that dslocal knows: {lacking}",
        hint=f"to prompt it as a family anyway, use --family: {', '.join(FAMILIES)}",
    )
