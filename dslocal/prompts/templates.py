"""Templates: named prompts with variables.

``{name}`` stands for a variable, ``{{name}}`` for those very characters; every other brace is only
a brace. Replacement is one pass over the template, so that nothing in a value is ever expanded, and
nothing is evaluated. Does not know where templates are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dslocal.errors import UsageError

from .settings import SETTINGS

INPUT = "input"  # the variable for what was piped in or typed
TEXTS = ("prompt", "system", "model", "about")
KEYS = (*TEXTS, "think", "variables", *SETTINGS)

_PLACE = re.compile(
    r"\{\{(?P<literal>[A-Za-z_][A-Za-z0-9_]*)\}\}|\{(?P<variable>[A-Za-z_][A-Za-z0-9_]*)\}"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Template:
    """One named prompt.

    Attributes:
        name: What it is called.
        prompt: The prompt, with variables.
        system: The system prompt, with variables.
        model: The model that it is for; empty for any.
        about: One line about it.
        think: Whether the model reasons; None for the family's default.
        variables: Values for variables that are not given.
        settings: Values of settings by name, not checked until they are used.
    """

    name: str
    prompt: str
    system: str = ""
    model: str = ""
    about: str = ""
    think: bool | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return its variables in their order, each once."""
        places = _PLACE.finditer(f"{self.prompt}\0{self.system}")
        names = [place["variable"] for place in places if place["variable"]]
        return tuple(dict.fromkeys(names))

    def filled(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Return prompt and system prompt with ``values`` for the variables.

        Raises:
            UsageError: If a value is missing, or is for no variable.
        """
        strange = [name for name in values if name not in self.wanted]
        if strange:
            known = ", ".join(name for name in self.wanted if name != INPUT) or "none but its input"
            raise UsageError(
                f"template {self.name!r} has no variable {strange[0]!r:.60}",
                hint=f"it has: {known}",
            )
        given = {**self.variables, **values}
        missing = [name for name in self.wanted if name not in given]
        if missing == [INPUT]:
            raise UsageError(
                f"template {self.name!r} needs input", hint="give it as the argument or on stdin"
            )
        if missing:
            raise UsageError(
                f"template {self.name!r} needs {', '.join(missing)}",
                hint=" ".join(f"-p {name}=…" for name in missing if name != INPUT),
            )
        return _fill(self.prompt, given), _fill(self.system, given)


def _fill(text: str, values: Mapping[str, str]) -> str:
    def value_of(place: re.Match[str]) -> str:
        if place["variable"]:
            return values[place["variable"]]
        return f"{{{place['literal']}}}"

    return _PLACE.sub(value_of, text)


def parse_template(name: str, table: Any, source: str) -> Template:
    """Return the template that a table of a file describes.

    Args:
        name: The table's name.
        table: Its content.
        source: The file, for messages.

    Raises:
        UsageError: If it does not describe one.
    """
    where = f"{source}: templates.{name}"
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{source}: a template cannot be called {name!r:.80}",
            hint="use letters, digits, '.', '_' and '-'",
        )
    if not isinstance(table, dict):
        raise UsageError(f"{where}: is not a table", hint=f'[templates.{name}] prompt = "…"')
    _check_types(table, where)
    texts = {key: table.get(key, "") for key in TEXTS}
    template = Template(
        name,
        **texts,
        think=table.get("think"),
        variables=table.get("variables", {}),
        settings={key: table[key] for key in SETTINGS if key in table},
    )
    strange = [name for name in template.variables if name not in template.wanted]
    if strange:
        raise UsageError(f"{where}.variables: the template does not use {{{strange[0]}}}")
    return template


def _check_types(table: dict[str, Any], where: str) -> None:
    """Check the keys of a table, and the types of their values.

    Raises:
        UsageError: If one is not as it must be.
    """
    for key in table:
        if key not in KEYS:
            raise UsageError(f"{where}: unknown key {key!r:.60}", hint=f"known: {', '.join(KEYS)}")
    for key in TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise UsageError(f"{where}.{key}: is not text")
    if not table.get("prompt", "").strip():
        raise UsageError(f"{where}: has no prompt", hint='prompt = "Summarise:\\n{input}"')
    variables = table.get("variables", {})
    if not isinstance(variables, dict) or not all(isinstance(v, str) for v in variables.values()):
        raise UsageError(
            f"{where}.variables: is not a table of texts",
            hint='variables = { language = "English" }',
        )
    think = table.get("think")
    if think is not None and not isinstance(think, bool):
        raise UsageError(f"{where}.think: is true or false")
