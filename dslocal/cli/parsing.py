"""Rules for reading the command line that Typer lacks.

An option that takes one value must not be given twice, because only the last value would count. If
a user types a command that other programs have and dslocal lacks, the error names the command that
does the same.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from dslocal.errors import UsageError
from dslocal.files import is_file

END_OF_OPTIONS = "--"
RESUME = "--resume"  # of dslocal chat
MODEL_OPTION = "--model"
MAX_SHOWN = 60  # characters of a word
_NEAR = "did you mean"  # begins a hint that only the spelling gives

# What other programs call a command, and what does the same here; {model} is the word behind it.
_CHAT = "dslocal chat {model} talks with it, dslocal ask -m {model} answers one question"
_MODELS = "dslocal models lists what is on this machine"
_PULL = "dslocal pull {model} downloads it"
_RM = "dslocal rm {model} removes it"
ASK = 'dslocal ask -m {model} "…" answers one question'
_LOADED = "only dslocal serve keeps a model loaded, and Ctrl-C ends it"
_SHOW = "dslocal show {model} says what it is"
_CONVERT = "dslocal convert {model} makes GGUF files of it"
_SERVE = "dslocal serve {model} serves it over HTTP"
_FIT = "dslocal fit says what runs here"
_LOGIN = "hf auth login, or HF_TOKEN, gives access to models that need a login"
_UPDATE = "pip install --upgrade dslocal"
_CLEAN = (
    "dslocal rm --leftovers deletes what interrupted work left; dslocal rm NAME removes a model"
)
_SETTINGS = "dslocal help settings explains where settings are kept"
OTHER_COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("run", "start", "launch", "load", "talk", "repl", "interactive"), _CHAT),
    **dict.fromkeys(("list", "ls", "model", "tags", "installed"), _MODELS),
    **dict.fromkeys(("download", "get", "fetch", "install", "add"), _PULL),
    **dict.fromkeys(("remove", "delete", "del", "erase"), _RM),
    **dict.fromkeys(("generate", "complete", "prompt", "infer", "query", "answer"), ASK),
    **dict.fromkeys(("ps", "stop", "unload", "kill", "down", "eject"), _LOADED),
    **dict.fromkeys(("info", "inspect", "describe", "cat"), _SHOW),
    **dict.fromkeys(("create", "export"), _CONVERT),
    "quantise": "dslocal quantize {model} makes another quantization of it",
    **dict.fromkeys(("server", "api", "daemon", "up", "host", "web"), _SERVE),
    **dict.fromkeys(("search", "find", "recommend", "plan", "available", "library"), _FIT),
    **dict.fromkeys(("login", "signin", "auth", "whoami", "logout", "signout"), _LOGIN),
    **dict.fromkeys(("update", "upgrade", "self-update"), _UPDATE),
    **dict.fromkeys(("clean", "prune", "gc", "cache"), _CLEAN),
    **dict.fromkeys(("config", "settings", "set", "env"), _SETTINGS),
    **dict.fromkeys(("benchmark", "perf", "speed"), "dslocal bench measures speed"),
    **dict.fromkeys(("evaluate", "test"), "dslocal eval measures a model on questions"),
    **dict.fromkeys(("status", "check", "diagnose"), "dslocal doctor checks this installation"),
    **dict.fromkeys(("history", "conversations"), "dslocal sessions lists earlier chats"),
    **dict.fromkeys(("resume", "continue"), "dslocal chat --resume continues the last chat"),
    **dict.fromkeys(("infill", "fill"), "dslocal fim fills a gap in code or text"),
    **dict.fromkeys(("version", "v"), "dslocal --version"),
    "uninstall": "dslocal rm {model} removes a model; dslocal help files says what else dslocal "
    "keeps",
    "cp": "dslocal import FILE --name NAME gives a file another name",
    "copy": "dslocal import FILE --name NAME gives a file another name",
    "push": "dslocal publishes nothing; hf upload does",
    **dict.fromkeys(
        ("docs", "doc", "documentation", "man", "manual", "topics"),
        "dslocal help lists topics, and dslocal help TOPIC explains one",
    ),
}


class _StrictParser:
    """Refuses an option given twice, and explains text that looks like an option."""

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser, which refuses what would silently have no effect."""
        inherited: Any = super()
        parser = inherited.make_parser(ctx)
        parse = parser.parse_args

        def parse_and_check(args: list[str]) -> Any:
            given = list(args)
            try:
                parsed = parse(args)
            except typer.TyperException as e:
                if getattr(e, "ctx", None) is None:
                    e.ctx = ctx  # type: ignore[attr-defined] # whose options the hint lists
                raise _explained(e, given) from e
            if not ctx.resilient_parsing:
                _require_single(parsed[2], given)
                _refuse_empty_model(*parsed)
            return parsed

        parser.parse_args = parse_and_check
        return parser


class OneValueCommand(_StrictParser, TyperCommand):
    """A command that refuses options of which only one would count."""


class ModelOptionCommand(OneValueCommand):
    """A command whose arguments are not a model; where one stands first, the hint names ``-m``."""

    with_model: ClassVar[str] = "dslocal {command} -m {model} …"
    with_file: ClassVar[str] = "dslocal {command} -f {file} …"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``args``.

        Raises:
            UsageError: There are too many, and the first is a model or a text file.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as e:
            is_of_an_option = hasattr(e, "option_name") or hasattr(e, "param")
            hint = "" if is_of_an_option or not given else self._suggest(given[0])
            if not hint:
                raise
            raise UsageError(e.format_message(), hint=hint) from e

    def _suggest(self, first: str) -> str:
        """Return how ``first`` is given, a model or a text file; empty where it is neither."""
        named = shlex.quote(first)
        if is_file(Path(first)) and not first.lower().endswith(".gguf"):
            return self.with_file.format(command=self.name, file=named)
        return self.with_model.format(command=self.name, model=named) if _is_here(first) else ""


class SuggestingGroup(_StrictParser, TyperGroup):
    """A group whose error for an unknown command names the command that does the same."""

    others: ClassVar[Mapping[str, str]] = OTHER_COMMANDS

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that ``args`` begin with.

        Raises:
            UsageError: There is none of that name; the hint says what is meant.
        """
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            raise UsageError(
                f"{ctx.command_path} has no command {args[0]!r:.{MAX_SHOWN}}",
                hint=self.suggest(args) or f"{ctx.command_path} --help lists the commands",
            )
        return super().resolve_command(ctx, args)

    def suggest(self, args: Sequence[str]) -> str:
        """Return what ``args`` are probably meant as; empty if nothing is similar."""
        word = args[0]
        behind = next((arg for arg in args[1:] if not arg.startswith("-")), "")
        other = self.others.get(word.lower())
        if other is not None:
            name = _model_name(behind)
            first = f"{_PULL}, then ".format(model=name) if _is_elsewhere(name, other) else ""
            return first + other.format(model=name or "NAME")
        near = get_close_matches(word.lower(), list(self.commands), 3)
        return f"{_NEAR} {' or '.join(near)}?" if near else ""


class RootGroup(SuggestingGroup):
    """``dslocal`` itself, whose first word may also be a model, a question or a help topic."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands, sorted: Typer puts those with commands of their own last."""
        return sorted(super().list_commands(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``args``.

        Raises:
            UsageError: An option of the chat has no command before it.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as e:
            option = getattr(e, "option_name", "")
            chat: Any = self.get_command(ctx, "chat")
            if any(option in (*param.opts, *param.secondary_opts) for param in chat.params):
                hint = f"dslocal chat {option} …" if option != RESUME else f"dslocal chat {RESUME}"
                raise UsageError(e.format_message(), hint=hint) from e
            raise

    def suggest(self, args: Sequence[str]) -> str:
        """Return what ``args`` are meant as: a command, a model, or a question."""
        from dslocal.cli.help_topics import topic_names

        word = args[0]
        found = super().suggest(args)
        if found and not found.startswith(_NEAR):
            return found
        if word.lower() in topic_names():
            return f"dslocal help {word.lower()} explains it"
        if len(word.split()) > 1 or word.endswith("?"):
            return 'dslocal ask "…" answers a question'
        name = _model_name(word)
        if _is_here(name):
            return _CHAT.format(model=name)
        if name != word:
            return f"{_PULL}, then {_CHAT}".format(model=name)
        return found


class SessionsGroup(SuggestingGroup):
    """``dslocal sessions``, which lists without a command."""

    others: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("list", "ls", "show"), "dslocal sessions alone lists them"),
        **dict.fromkeys(("search", "find", "grep"), "dslocal sessions --search TEXT"),
        **dict.fromkeys(("delete", "remove", "del"), "dslocal sessions rm ID"),
        **dict.fromkeys(("resume", "open", "continue"), "dslocal chat --resume ID"),
    }

    def suggest(self, args: Sequence[str]) -> str:
        """Return what ``args`` are meant as, by default a text to search for."""
        return super().suggest(args) or "dslocal sessions --search TEXT searches them"


class TemplatesGroup(SuggestingGroup):
    """``dslocal templates``, which lists without a command."""

    others: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("list", "ls"), "dslocal templates alone lists them"
    )

    def suggest(self, args: Sequence[str]) -> str:
        """Return what ``args`` are meant as, by default a template to show."""
        return super().suggest(args) or "dslocal templates show NAME shows one"


def refuse_options(context: typer.Context, **given: object) -> None:
    """Refuse options before a command that has no use for them there.

    Args:
        context: That of the group.
        given: The values by option, without the dashes.

    Raises:
        UsageError: One is given.
    """
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--{name} has no effect before {context.invoked_subcommand}",
                hint=f"{context.command_path} {context.invoked_subcommand} --help",
            )


def _model_name(text: str) -> str:
    """Return what dslocal calls the model that ``text`` may mean; ``text`` where it knows none."""
    from dslocal import catalog
    from dslocal.catalog.names import read_spelling
    from dslocal.errors import DslocalError

    if not text:
        return ""
    try:
        spelling = read_spelling(text)
        entry = catalog.find_entry(spelling.name) if spelling and spelling.name else None
    except DslocalError:
        return text
    if entry is None or spelling is None or Path(text).exists():
        return text
    return f"{entry.name}:{spelling.quant}" if spelling.quant else entry.name


def _is_here(name: str) -> bool:
    """Return whether ``name`` is a model on this machine."""
    from dslocal.catalog import resolve
    from dslocal.errors import DslocalError

    try:
        return bool(name) and bool(resolve.resolve_model(name))
    except DslocalError:
        return False


def _is_elsewhere(name: str, suggested: str) -> bool:
    """Return whether the model must be fetched before ``suggested`` can be done."""
    from dslocal import catalog

    if suggested not in (_CHAT, ASK, _SERVE) or not name or _is_here(name):
        return False
    return "/" in name or catalog.find_entry(name.partition(":")[0]) is not None


def _refuse_empty_model(values: Mapping[str, Any], _: Any, order: Sequence[Any]) -> None:
    """Refuse a model without a name, as an unset variable of a script gives it.

    Raises:
        UsageError: ``-m`` has an empty text, for which the default model would be used.
    """
    if any(MODEL_OPTION in param.opts and values.get(param.name) == "" for param in order):
        raise UsageError("-m has no name of a model", hint="leave out -m for the default model")


def plain_message(error: typer.TyperException) -> str:
    """Return what is wrong on the command line.

    A value of the wrong kind is described by Pydantic, in its own words; those are replaced.
    """
    cause: Any = error.__cause__
    option = "/".join(getattr(getattr(error, "param", None), "opts", ()))
    if not option or not hasattr(cause, "errors"):
        return error.format_message()
    fault = cause.errors()[0]
    match fault["type"]:
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            why = "is not a whole number"
        case "float_parsing" | "finite_number":
            why = "is not a number"
        case "greater_than_equal":
            why = f"is out of range ({fault['ctx']['ge']} or more)"
        case "less_than_equal":
            why = f"is out of range ({fault['ctx']['le']} or less)"
        case _:
            return error.format_message()
    return f"{option}: {fault['input']!s:.{MAX_SHOWN}} {why}"


def _require_single(order: Sequence[Any], args: Sequence[str]) -> None:
    """Refuse an option of one value that was given more than once, and a switch both ways.

    Raises:
        UsageError: One was.
    """
    options = args[: args.index(END_OF_OPTIONS)] if END_OF_OPTIONS in args else args
    for param, count in Counter(order).items():
        if count < 2 or param.param_type_name != "option" or param.multiple:
            continue
        name = max(param.opts, key=len)
        if not param.is_flag:
            raise UsageError(f"{name} is given {count} times", hint="give it once")
        opposite = [option for option in options if option in param.secondary_opts]
        if opposite and any(option in param.opts for option in options):
            raise UsageError(f"{name} and {opposite[0]} cannot be combined", hint="use one of them")


def _explained(error: typer.TyperException, args: Sequence[str]) -> Exception:
    """Return ``error``, or one that says how text is written that looks like an option."""
    name = getattr(error, "option_name", "")
    for arg in args:
        is_text = " " in arg or arg[1:2].isdecimal()
        if name and is_text and arg.startswith("-") and arg.startswith(name[:2]):
            return UsageError(
                f"{arg!r:.{MAX_SHOWN}} looks like an option",
                hint=f"{END_OF_OPTIONS} must come before text that begins with '-'",
            )
    return error
