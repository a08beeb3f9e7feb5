"""Named prompts with variables: what a table of them may say, and how a prompt is made of one. It
does not know where they are kept.

``{name}`` stands for a variable, ``{{name}}`` for those very characters; every other brace is only
a brace. Replacement is one pass over the template, so that nothing in a value is ever expanded, and
nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dslocal.errors import UsageError

from .settings import SETTINGS

INPUT = "input"  # the variable that is what was piped in or typed
TEXTS = ("prompt", "system", "model", "about")
KEYS = (*TEXTS, "think", "variables", *SETTINGS)

_PLACE = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Template:
    """One named prompt. ``variables`` are values for what is not given, ``settings`` values by
    name, unchecked until they are used.
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
        """The variables in it, in their order, each once."""
        found = (match[2] for match in _PLACE.finditer(f"{self.prompt}\0{self.system}") if match[2])
        return tuple(dict.fromkeys(found))

    def filled(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Prompt and system prompt with ``values`` in their places. Raises UsageError for one that
        is missing or has no place.
        """
        if strange := [name for name in values if name not in self.wanted]:
            known = ", ".join(name for name in self.wanted if name != INPUT) or "none but its input"
            raise UsageError(
                f"template {self.name!r} has no variable {strange[0]!r:.60}",
                hint=f"it has: {known}",
            )
        given = {**self.variables, **values}
        if missing := [name for name in self.wanted if name not in given]:
            what = "input" if missing == [INPUT] else ", ".join(missing)
            how = (
                "something on stdin, or the argument"
                if missing == [INPUT]
                else " ".join(f"-p {n}=…" for n in missing if n != INPUT)
            )
            raise UsageError(f"template {self.name!r} needs {what}", hint=how)
        return tuple(
            _PLACE.sub(lambda m: given[m[2]] if m[2] else f"{{{m[1]}}}", text)
            for text in (self.prompt, self.system)
        )  # type: ignore[return-value]


def parse_template(name: str, table: Any, source: str) -> Template:
    """The template that ``table`` of the file ``source`` describes. Raises UsageError naming file,
    template and key.
    """
    where = f"{source}: templates.{name}"
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{source}: a template cannot be called {name!r:.80}",
            hint="letters, digits, '.', '_' and '-'",
        )
    if not isinstance(table, dict):
        raise UsageError(f"{where}: is no table", hint=f'[templates.{name}] prompt = "…"')
    for key in table:
        if key not in KEYS:
            raise UsageError(f"{where}: unknown key {key!r:.60}", hint=f"known: {', '.join(KEYS)}")
    for key in TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise UsageError(f"{where}.{key}: is no text")
    if not table.get("prompt", "").strip():
        raise UsageError(f"{where}: has no prompt", hint='prompt = "Summarise:\\n{input}"')
    variables, think = table.get("variables", {}), table.get("think")
    if not isinstance(variables, dict) or not all(
        isinstance(value, str) for value in variables.values()
    ):
        raise UsageError(
            f"{where}.variables: is no table of texts", hint='variables = { language = "English" }'
        )
    if think is not None and not isinstance(think, bool):
        raise UsageError(f"{where}.think: is true or false")
    texts = {key: table.get(key, "") for key in TEXTS}
    template = Template(
        name,
        **texts,
        think=think,
        variables=variables,
        settings={key: table[key] for key in SETTINGS if key in table},
    )
    if strange := [variable for variable in variables if variable not in template.wanted]:
        raise UsageError(f"{where}.variables: there is no {{{strange[0]}}} in it")
    return template
