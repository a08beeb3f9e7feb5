"""How the formats that people have write a key, a value, a section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

KEY_FORMS: dict[str, Callable[[list[str]], str]] = {
    "snake": "_".join,
    "kebab": "-".join,
    "dot": ".".join,
    "upper": lambda words: "_".join(words).upper(),
    "camel": lambda words: words[0] + "".join(word.capitalize() for word in words[1:]),
    "pascal": lambda words: "".join(word.capitalize() for word in words),
    "title": lambda words: " ".join(words).capitalize(),
    "titles": lambda words: " ".join(words).title(),
    "spaced": " ".join,
    "joined": "".join,
}
CODE = ("snake", "upper", "camel", "pascal", "kebab", "dot", "joined")
PLAIN = ("title", "title", "titles", "spaced", "snake")


@dataclass(frozen=True)
class Format:
    """How a format writes a line, with {k} and {v}.

    Attributes:
        extensions: Of its files.
        lines: One is taken for a whole file.
        forms: How keys are spelled.
        quotes: What strings stand in: a sign, or nothing.
        comment: How comments begin; empty for none.
        around: What stands before and after all lines, and in front of each.
    """

    extensions: tuple[str, ...]
    lines: tuple[str, ...]
    forms: tuple[str, ...] = CODE
    quotes: tuple[str, ...] = ("",)
    comment: str = "#"
    around: tuple[tuple[str, str, str], ...] = (("", "", ""),)


FLAT = (
    Format(("ini", "cfg", "conf"), ("{k} = {v}", "{k}={v}", "{k} = {v}", "{k}: {v}")),
    Format(("conf", "cfg"), ("{k} {v}", "{k}\t{v}", "{k}  {v}", "{k} {v};"), CODE[:5]),
    Format(("env", "sh"), ("{k}={v}", "{k}={v}", "export {k}={v}"), ("upper",), ("", "", '"', "'")),
    Format(("yaml", "yml"), ("{k}: {v}", "{k}: {v}", "{k}:  {v}"), CODE, ("", "", "", '"', "'")),
    Format(("toml",), ("{k} = {v}", "{k}={v}"), ("snake", "kebab", "camel"), ('"',)),
    Format(("properties",), ("{k}={v}", "{k} = {v}", "{k}: {v}"), ("dot", "dot", "camel", "kebab")),
    Format(
        ("txt", "md", "note", "log", "eml"),
        (
            "{k}: {v}",
            "{k}: {v}",
            "{k} - {v}",
            "{k} = {v}",
            "{k} is {v}",
            "{k}:\t{v}",
            "{k} .... {v}",
        ),
        PLAIN,
        comment="",
    ),
    Format(
        ("md",),
        (
            "- **{k}**: {v}",
            "- {k}: {v}",
            "* {k}: {v}",
            "| {k} | {v} |",
            "- `{k}`: {v}",
            "**{k}:** {v}",
            "## {k}\n{v}",
            "1. {k}: {v}",
            "- {k} = {v}",
            "- **{k}:** {v}",
        ),
        (*PLAIN, "snake"),
        comment="",
        around=(("", "", ""), ("# {t}\n\n", "", ""), ("# {t}\n\n{t}.\n\n", "", "")),
    ),
    Format(
        ("py", "rb", "jl"), ("{k} = {v}", "{k} = {v}", "{k}={v}"), ("upper", "snake"), ('"', "'")
    ),
    Format(
        ("js", "ts"),
        ("const {k} = {v};", "let {k} = {v};", "export const {k} = {v};", "var {k} = {v}"),
        ("camel", "upper"),
        ('"', "'"),
        "//",
    ),
    Format(
        ("js", "ts", "dart"),
        ("{k}: {v},",),
        ("camel", "snake"),
        ('"', "'"),
        "//",
        (("const {s} = {{\n", "\n}};", "  "), ("module.exports = {{\n", "\n}}", "  ")),
    ),
    Format(("h", "c"), ("#define {k} {v}", "#define {k}  {v}"), ("upper",), ('"',), "//"),
    Format(
        ("java", "kt", "cs"),
        ("static final String {k} = {v};", "private int {k} = {v};", "val {k} = {v}"),
        ("upper", "camel"),
        ('"',),
        "//",
        (("class {s} {{\n", "\n}}", "    "), ("", "", "")),
    ),
    Format(
        ("go", "rs"),
        ("const {k} = {v}", "var {k} = {v}", "{k} := {v}"),
        ("camel", "pascal"),
        ('"',),
        "//",
    ),
    Format(
        ("xml", "html", "plist"),
        ("<{k}>{v}</{k}>",),
        ("snake", "camel", "kebab"),
        ("",),
        "",
        (
            ("<{s}>\n", "\n</{s}>", "  "),
            ('<?xml version="1.0"?>\n<{s}>\n', "\n</{s}>", "    "),
        ),
    ),
    Format(
        ("xml", "config"), ('<add key="{k}" value="{v}" />', '<{s} {k}="{v}"/>'), CODE, ("",), ""
    ),
    Format(
        ("css", "scss"),
        ("{k}: {v};", "--{k}: {v};"),
        ("kebab",),
        ("",),
        "//",
        (
            ("{s} {{\n", "\n}}", "  "),
            (":root {{\n", "\n}}", "  "),
        ),
    ),
    Format(
        ("tf", "hcl", "nix"),
        ("{k} = {v}", "{k} = {v};"),
        ("snake", "camel"),
        ('"',),
        "#",
        (
            ("{s} {{\n", "\n}}", "  "),
            ('resource "{s}" {{\n', "\n}}", "  "),
        ),
    ),
    Format(
        ("lua", "vim", "el"),
        ("local {k} = {v}", "set {k}={v}", "(setq {k} {v})"),
        ("snake", "kebab"),
        ('"',),
        "",
    ),
    Format(
        ("Dockerfile", "mk"),
        ("ENV {k}={v}", "ARG {k}={v}", "{k} := {v}", "{k} ?= {v}", "LABEL {k} {v}"),
        ("upper", "snake"),
    ),
    Format(
        ("service", "desktop", "timer"),
        ("{k}={v}",),
        ("pascal",),
        ("",),
        "#",
        (("[{t}]\n", "", ""), ("", "", "")),
    ),
    Format(
        ("reg", "bat", "ps1"),
        ("set {k}={v}", "${k} = {v}", "SET {k}={v}"),
        ("upper", "pascal"),
        ("", '"'),
        "",
    ),
    Format(("sql",), ("SET {k} = {v};", "{k} {v},"), ("snake",), ("'", ""), "--"),
    Format(("http", "txt"), ("{k}: {v}",), ("pascal", "kebab"), ("",), ""),
    Format(
        ("vcf", "ics"),
        ("{k}:{v}",),
        ("upper", "kebab"),
        ("",),
        "",
        (("BEGIN:{s}\n", "\nEND:{s}", ""),),
    ),
    Format(
        ("tex", "bib"),
        ("{k} = {{{v}}},", "\\newcommand{{\\{k}}}{{{v}}}"),
        ("camel", "joined"),
        ("",),
        "%",
    ),
)
# before a section, its lines' indent, the line, what stands after it, quotes, extension
SECTIONED = (
    ("[{s}]\n", "", "{k} = {v}", "\n", "", "ini"),
    ("[{s}]\n", "", "{k}={v}", "\n", "", "cfg"),
    ("[{s}]\n", "\t", "{k} = {v}", "", "", "gitconfig"),
    ("[{s}]\n", "", "{k} = {v}", "\n", '"', "toml"),
    ("[[{s}]]\n", "", "{k} = {v}", "\n", '"', "toml"),
    ("{s}:\n", "  ", "{k}: {v}", "", "", "yaml"),
    ("{s}:\n", "    ", "{k}: {v}", "", "", "yml"),
    ("{s}:\n", "  ", "{k}: {v}", "\n", '"', "yaml"),
    ("- name: {s}\n", "  ", "{k}: {v}", "", "", "yml"),
    ("{s} {{\n", "  ", "{k} {v};", "}\n", "", "conf"),
    ("{s} {{\n", "    ", "{k} = {v}", "}\n\n", '"', "tf"),
    ("## {s}\n\n", "", "- {k}: {v}", "\n", "", "md"),
    ("# {s}\n", "", "{k}: {v}", "\n", "", "txt"),
    ("Host {s}\n", "    ", "{k} {v}", "", "", "config"),
    ("<{s}>\n", "  ", "<{k}>{v}</{k}>", "</{s}>\n", "", "xml"),
    (".{s} {{\n", "  ", "{k}: {v};", "}\n", "", "css"),
    ("{s}:\n", "", "{k}: {v}", "\n", "", "txt"),
    ("class {s}:\n", "    ", "{k} = {v}", "\n", '"', "py"),
)
