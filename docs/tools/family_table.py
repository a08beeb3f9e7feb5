"""Write the table of model families from dslocal's own definitions."""

from __future__ import annotations

from dslocal.prompts.families import FAMILIES, Family

PLACE = "<!-- families -->"


def with_families(markdown: str) -> str:
    """Return a page with the table of families where it asks for it."""
    return markdown.replace(PLACE, table()) if PLACE in markdown else markdown


def table() -> str:
    """Return the table as Markdown, the newest families last."""
    lines = ["| family | models | reasoning | temperature, top-p | also |", "|---|---|---|---|---|"]
    for family in sorted(FAMILIES.values(), key=lambda family: family.name):
        settings = family.defaults
        modes = ", ".join(mode.value for mode in family.thinking_modes)
        values = f"{settings.temperature.value:g}, {settings.top_p.value:g}"
        lines.append(
            f"| `{family.name}` | {family.title} | {modes} | {values} | {_features(family)} |"
        )
    return "\n".join(lines)


def _features(family: Family) -> str:
    """Return what a family supports beside questions and answers."""
    directive = family.directive is not None and family.directive.automatic
    features = {
        "completes text": family.is_base,
        "tools": family.format.tools is not None,
        "fim": family.fim is not None,
        "directive for mathematics": directive,
        f"efforts: {', '.join(family.efforts)}": bool(family.efforts),
    }
    return ", ".join(name for name, has in features.items() if has)
