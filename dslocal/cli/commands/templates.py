"""``dslocal templates``: the named prompts of config.toml; and how ``ask`` takes one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli import completion_values
from dslocal.cli.options import AsJson
from dslocal.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from dslocal import prompts

EXAMPLE = '[templates.commit]\nprompt = "Write a commit message for:\\n{input}"'

templates = typer.Typer(
    name="templates", add_completion=False, rich_markup_mode=None, invoke_without_command=True
)


@templates.callback()
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the named prompts of config.toml, or show one."""
    if context.invoked_subcommand is not None:
        return
    from dslocal import home
    from dslocal.terminal.sanitise import one_line

    found = [named(name) for name in _tables()]
    if as_json:
        print(json.dumps({"templates": [_fields(template) for template in found]}))
        return
    width = max((len(template.name) for template in found), default=0)
    for template in found:
        print(f"{template.name:<{width}}  {one_line(template.about or template.prompt, 100)}")
    if not found:
        print(
            f"no templates; {one_line(str(home.config_file()))} holds them, as:\n{EXAMPLE}",
            file=sys.stderr,
        )


@templates.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="As dslocal templates lists it.", autocompletion=completion_values.templates
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show a template's prompt, its variables and its settings."""
    from dslocal.terminal.sanitise import one_line, sanitise

    template = named(name)
    if as_json:
        print(json.dumps(_fields(template)))
        return
    print(sanitise(template.prompt))
    print(
        f"\nvariables: {', '.join(_spelled(variable, template) for variable in template.wanted) or 'none'}"
    )
    for key, value in _fields(template).items():
        if key not in ("name", "prompt", "variables", "defaults") and value not in ("", None, {}):
            print(
                one_line(
                    f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}",
                    2000,
                )
            )


def named(name: str) -> prompts.Template:
    """The template called ``name``. Raises NotFoundError with near matches, UsageError when it is
    not as it must be.
    """
    from dslocal import home, prompts

    tables = _tables()
    if name not in tables:
        from difflib import get_close_matches

        near = get_close_matches(name, tables, 3) or sorted(tables)[:8]
        hint = (
            f"there is: {', '.join(near)}"
            if near
            else f"[templates.NAME] of {home.config_file()} makes one"
        )
        raise NotFoundError(f"no template is called {name!r:.80}", hint=hint)
    return prompts.parse_template(name, tables[name], str(home.config_file()))


def filled(
    template: prompts.Template, given: Sequence[str], typed: str, piped: str
) -> tuple[str, str, str]:
    """The question, the text beside it and the system prompt. ``{input}`` is what was ``piped`` in
    and ``typed``, else it goes beside.

    Raises UsageError for what is missing, given twice, or no variable.
    """
    from dslocal import prompts

    values: dict[str, str] = {}
    for entry in given:
        name, separator, value = entry.partition("=")
        if not separator or not name:
            raise UsageError(f"-p {entry!r:.60} is no NAME=VALUE", hint="as -p language=French")
        if name in values:
            raise UsageError(f"-p {name!r:.60} is given twice", hint="once is enough")
        if name == prompts.INPUT:
            raise UsageError(
                "-p input: the input is what is on stdin or the argument",
                hint="dslocal help templates",
            )
        values[name] = value.encode("utf-8", "replace").decode("utf-8")
    text = "\n\n".join(part for part in (piped, typed) if part)
    inside = prompts.INPUT in template.wanted
    prompt, system = template.filled({**values, prompts.INPUT: text} if inside and text else values)
    return prompt, "" if inside else text, system


def _tables() -> Mapping[str, Any]:
    from dslocal import home
    from dslocal.cli.session_setup import TEMPLATES

    found = home.read_config().get(TEMPLATES, {})
    if not isinstance(found, dict):
        raise UsageError(f"{home.config_file()}: {TEMPLATES} is no table", hint="[templates.NAME]")
    return found


def _fields(template: prompts.Template) -> dict[str, Any]:
    return {
        **{
            "name": template.name,
            "about": template.about,
            "prompt": template.prompt,
            "system": template.system,
        },
        **{"model": template.model, "think": template.think, "settings": dict(template.settings)},
        **{"variables": list(template.wanted), "defaults": dict(template.variables)},
    }


def _spelled(variable: str, template: prompts.Template) -> str:
    from dslocal.terminal.sanitise import one_line

    return (
        variable
        if variable not in template.variables
        else f"{variable} [{one_line(template.variables[variable], 60)}]"
    )
