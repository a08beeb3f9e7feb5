"""``dslocal templates``: list or show the named prompts of config.toml."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.options import AsJson
from dslocal.cli.parsing import OneValueCommand, TemplatesGroup, refuse_options

if TYPE_CHECKING:
    from dslocal import prompts

MAX_SHOWN_ABOUT = 100
MAX_SHOWN_VALUE = 2000
MAX_SHOWN_DEFAULT = 60
SHOWN_APART = ("name", "prompt", "variables", "defaults")
EXAMPLE = '[templates.commit]\nprompt = "Write a commit message for:\\n{input}"'

templates = typer.Typer(
    name="templates",
    cls=TemplatesGroup,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
)


@templates.callback()
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the named prompts of config.toml, or show one."""
    if context.invoked_subcommand is not None:
        refuse_options(context, json=as_json)
        return
    from dslocal import home
    from dslocal.cli.asking.prompt_templates import get_template, template_tables
    from dslocal.terminal.sanitise import one_line

    found = [get_template(name) for name in template_tables()]
    if as_json:
        print(json.dumps({"templates": [_fields(template) for template in found]}))
        return
    width = max((len(template.name) for template in found), default=0)
    for template in found:
        about = one_line(template.about or template.prompt, MAX_SHOWN_ABOUT)
        print(f"{template.name:<{width}}  {about}")
    if not found:
        file = one_line(str(home.config_file()))
        print(
            f"there are no templates; add one to {file}, for example:\n{EXAMPLE}", file=sys.stderr
        )


@templates.command(cls=OneValueCommand)
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name that dslocal templates lists.",
            autocompletion=completion_values.templates,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show a template's prompt, its variables and its settings."""
    from dslocal.cli.asking.prompt_templates import get_template
    from dslocal.terminal.sanitise import one_line, sanitise

    template = get_template(name)
    if as_json:
        print(json.dumps(_fields(template)))
        return
    print(sanitise(template.prompt))
    variables = [_variable_text(variable, template) for variable in template.wanted]
    print(f"\nvariables: {', '.join(variables) or 'none'}")
    for key, value in _fields(template).items():
        if key not in SHOWN_APART and value not in ("", None, {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print(one_line(f"{key}: {text}", MAX_SHOWN_VALUE))


def _fields(template: prompts.Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "about": template.about,
        "prompt": template.prompt,
        "system": template.system,
        "model": template.model,
        "think": template.think,
        "settings": dict(template.settings),
        "variables": list(template.wanted),
        "defaults": dict(template.variables),
    }


def _variable_text(variable: str, template: prompts.Template) -> str:
    """Return a variable with its default, if it has one."""
    from dslocal.terminal.sanitise import one_line

    if variable not in template.variables:
        return variable
    return f"{variable} [{one_line(template.variables[variable], MAX_SHOWN_DEFAULT)}]"
