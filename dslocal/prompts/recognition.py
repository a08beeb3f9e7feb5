"""Which family a GGUF is of, by its own metadata, and why. Files are made by many hands, so no
single key is relied on.

1. Architecture, special tokens and, for nano, shape must fit: a family that needs a token which is
not there is out.
2. Among what is left, the name decides: what the file calls itself, and failing that the model it
says it was made from,
   unless that is a base model, which gives no turns to what is made of it.
3. A name that says nothing leaves the chat template's text, which is a hint: makers of GGUFs edit
it.
4. Neither: the most careful reading, which is the first that is left in the order of ``CAREFUL``,
and ``why`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dslocal.errors import UnsupportedModelError, UsageError
from dslocal.gguf.header import GgufHeader

from .families import CAREFUL, FAMILIES, Family

OWN = (("general.name",), ("general.basename", "general.version", "general.finetune"))
ORIGINS = (
    *(
        "general.base_model.0.name",
        "general.base_model.0.repo_url",
        "general.source.url",
        "general.source.repo_url",
    ),
    "general.source.huggingface.repository",
)
MAX_NAME, MAX_TEMPLATE = 400, 100_000  # characters that are looked at


@dataclass(frozen=True)
class Recognition:
    """``why`` is what decided; ``others`` are families that the file may also be of, when nothing
    but care decided.
    """

    family: Family
    why: str
    others: tuple[str, ...] = ()


def recognise_family(header: GgufHeader, forced: str | None = None) -> Recognition:
    """The family of a GGUF. ``forced`` names one outright. Raises UnsupportedModelError, and
    UsageError for an unknown name.
    """
    if forced is not None:
        return Recognition(get_family(forced), "it was asked for")
    tokens = set(header.tokens())
    possible = [family for family in FAMILIES.values() if _fits(family, header, tokens)]
    if not possible:
        _refuse(header, tokens)
    by_shape = [family for family in possible if family.signs.shape]
    if by_shape:
        return Recognition(by_shape[0], "its shape")
    for keys in OWN:
        name = " ".join(header.text(key)[:MAX_NAME] for key in keys).strip()
        if family := _first(possible, _words(name)):
            return Recognition(family, f"its name, {name[:60]!r}")
    for name in (header.text(key)[:MAX_NAME] for key in ORIGINS):
        family = _first(possible, _words(name))
        if family and not family.is_base:
            return Recognition(family, f"what it was made from, {name[:60]!r}")
    if family := _by_template(possible, header.text("tokenizer.chat_template")[:MAX_TEMPLATE]):
        return Recognition(family, "its chat template; its name says nothing")
    careful = [family for family in CAREFUL if family in possible]
    chosen = careful[0] if careful else possible[0]
    others = tuple(
        family.name for family in careful if family is not chosen and not _outdone(family, careful)
    )
    rest = f"; it may be of {', '.join(others)} as well, which --family would say" if others else ""
    return Recognition(
        chosen,
        "the most careful reading of its special tokens, as neither name nor template says" + rest,
        others,
    )


def get_family(name: str) -> Family:
    """The family called ``name``. Raises UsageError."""
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


def _outdone(family: Family, others: Iterable[Family]) -> bool:
    """Whether one of ``others``, whose tokens are all there, has those of ``family`` and more: then
    ``family`` is hardly it.
    """
    return any(family.signs.tokens < other.signs.tokens for other in others)


def _first(families: Iterable[Family], words: str) -> Family | None:
    """The first family whose name is in ``words``; families stand with the more particular name
    first.
    """
    return next(
        (
            family
            for family in families
            if family.signs.name and re.search(family.signs.name, words)
        ),
        None,
    )


def _by_template(families: Iterable[Family], template: str) -> Family | None:
    return next(
        (
            family
            for family in families
            if template and family.signs.template and re.search(family.signs.template, template)
        ),
        None,
    )


def _words(name: str) -> str:
    """``name`` in lower case, with single spaces for whatever separates: ``deepseek v3 1 base``."""
    return re.sub(r"[\W_]+", " ", name.lower()).strip()


def _refuse(header: GgufHeader, tokens: set[str]) -> None:
    name = header.text("general.name", "unnamed")[:60]
    architecture = repr(header.architecture[:40]) if header.architecture else "no architecture"
    known = sorted({arch for family in FAMILIES.values() for arch in family.signs.architectures})
    if header.architecture in known:
        lacking = (
            "its vocabulary is none of DeepSeek's"
            if "<｜end▁of▁sentence｜>" not in tokens
            else "its special tokens fit no family"
        )
    else:
        lacking = f"their architectures are {', '.join(known)}"
    raise UnsupportedModelError(
        f"{name!r} ({architecture}) is no DeepSeek model that dslocal knows: {lacking}",
        hint=f"--family prompts it as one all the same: {', '.join(FAMILIES)}",
    )
