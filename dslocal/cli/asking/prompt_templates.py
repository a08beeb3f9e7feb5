"""Find the named prompts of config.toml, and fill them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from dslocal import home, prompts
from dslocal.cli.user_settings import TEMPLATES
from dslocal.errors import NotFoundError, UsageError

from .ask_input import AskInput

MAX_LISTED = 8  # names that an error lists


def template_tables() -> Mapping[str, Any]:
    """Return the tables of all templates by name, unchecked.

    Raises:
        UsageError: config.toml has something else in their place.
    """
    found = home.read_config().get(TEMPLATES, {})
    if not isinstance(found, dict):
        raise UsageError(
            f"{home.config_file()}: {TEMPLATES} is not a table", hint="write it as [templates.NAME]"
        )
    return found


def get_template(name: str) -> prompts.Template:
    """Return the template of that name.

    Raises:
        NotFoundError: There is none; the hint names others.
        UsageError: It is not well-formed.
    """
    tables = template_tables()
    if name in tables:
        return prompts.parse_template(name, tables[name], str(home.config_file()))
    near = get_close_matches(name, tables, 3) or sorted(tables)[:MAX_LISTED]
    hint = f"add a table [templates.NAME] to {home.config_file()}"
    if near:
        hint = f"there are: {', '.join(near)}"
    raise NotFoundError(f"no template is called {name!r:.80}", hint=hint)


def fill_template(
    template: prompts.Template, params: Sequence[str], typed: str, piped: str
) -> AskInput:
    """Return the question that a template makes.

    What was ``piped`` in and ``typed`` takes the place of ``{input}``. Where the template has none,
    it goes before the question.

    Args:
        template: The template.
        params: Its variables, each as ``NAME=VALUE``.
        typed: The argument of the command.
        piped: What came on stdin.

    Raises:
        UsageError: A variable is missing, unknown, or given twice.
    """
    values = _variables(params)
    text = "\n\n".join(part for part in (piped, typed) if part)
    has_input = prompts.INPUT in template.wanted
    if has_input and text:
        values[prompts.INPUT] = text
    question, system = template.filled(values)
    return AskInput(question, "" if has_input else text, system)


def _variables(params: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for param in params:
        name = param.split("=", 1)[0]
        value = param[len(name) + 1 :]
        if "=" not in param or not name:
            raise UsageError(
                f"-p {param!r:.60} is not NAME=VALUE", hint="for example -p language=French"
            )
        if name in values:
            raise UsageError(f"-p {name!r:.60} is given twice", hint="give it once")
        if name == prompts.INPUT:
            raise UsageError(
                "-p input: {input} is the argument and stdin, and cannot be set by -p",
                hint="dslocal help templates",
            )
        values[name] = value.encode("utf-8", "replace").decode("utf-8")
    return values
