"""Source files in several languages: their functions, defaults, constants, imports, classes."""

from __future__ import annotations

import random

from make_nano import lexicon
from make_nano.exchange import Exchange
from make_nano.skills.files.document import Document, attached, file_name
from make_nano.skills.files.lookups import exchange

LISTED = (
    "Which functions are defined?",
    "what functions are in this file?",
    "List the functions.",
    "Which functions does {f} have?",
    "what are the functions called?",
    "functions?",
    "name the functions in {f}",
    "what functions does it define",
    "which functions are there",
    "list all functions in {f}",
    "what is defined here",
    "show me the functions",
)
DEFAULT = (
    "what is the default of {a}",
    "which default has {a}",
    "default of {a}",
    "what is {a} by default",
    "what is the default value of {a}",
    "what is the default {a}",
    "what does {a} default to",
    "what is {a} if I leave it out",
    "what's {a}'s default",
    "what value does {a} have by default",
    "to what is {a} set when it is not given",
    "what is the default of {a} in {n}",
    "in {n}, what is {a} by default",
    "which value does {n} use for {a}",
    "what's the default {a} of {n}",
)
PARAMETERS = (
    "what does {n} take",
    "which arguments does {n} have",
    "what are the parameters of {n}",
    "which parameters does {n} take",
    "what arguments does {n} need",
    "arguments of {n}",
    "what do I pass to {n}",
    "what is the signature of {n}",
)
RETURNED = (
    "what does {n} return",
    "what is returned by {n}",
    "what comes out of {n}",
    "which value does {n} return",
    "what's the result of {n}",
    "return value of {n}",
)
CONSTANT = (
    "what is {a}",
    "which value has {a}",
    "{a}",
    "what is {a} set to",
    "what's the value of {a}",
    "what is the value of {a}",
    "what's {a}",
)
IMPORTED = (
    "what is imported from {a}",
    "what does it import from {a}",
    "which name comes from {a}",
    "what is taken from {a}",
    "what comes from {a}",
)
CLASS = (
    "which class is defined",
    "what is the class called",
    "what class is in {f}",
    "name of the class",
    "which class is in this file",
    "what's the name of the class",
)
# a function's first line, and what stands around a return: language, header, return, end
LANGUAGES = (
    ("py", "def {n}({a}):", "    return {v}", ""),
    ("py", "def {n}({a}):", "    return {v}", ""),
    ("js", "function {n}({a}) {{", "  return {v};", "}"),
    ("ts", "export function {n}({a}) {{", "  return {v};", "}"),
    ("rb", "def {n}({a})", "  {v}", "end"),
    ("go", "func {n}({a}) {{", "\treturn {v}", "}"),
    ("php", "function {n}({a}) {{", "    return {v};", "}"),
)
NAMES = ("{}", "{}", "get_{}", "load_{}", "{}_all", "parse_{}", "is_{}", "make_{}", "{}_{}")


def source(r: random.Random) -> Exchange:
    """Return a question about a short source file."""
    drawn = _Source(r)
    text, thinking, answer = drawn.question(r)
    return exchange(r, drawn.document, attached(drawn.document), text, thinking, answer)


Asked = tuple[str, str, str]  # question, reasoning, answer


class _Source:
    """A source file with what can be asked of it."""

    def __init__(self, r: random.Random) -> None:
        extension, self.header, self.ending, self.close = r.choice(LANGUAGES)
        self.functions: list[tuple[str, list[tuple[str, str]], str, str]] = []
        self.constants: list[tuple[str, str]] = []
        lines = []
        self.imports = []
        for _ in range(r.choice([0, 0, 1, 2])):
            module, name = lexicon.any_word(r), lexicon.any_word(r)
            if extension == "py":
                lines.append(f"from {module} import {name}")
                self.imports.append((module, name))
        for _ in range(r.choice([0, 0, 1, 2, 3])):
            name = "_".join(lexicon.any_word(r) for _ in range(r.choice([1, 1, 2]))).upper()
            self.constants.append((name, _literal(r)))
            lines.append(f"{name} = {self.constants[-1][1]}")
        self.class_name = lexicon.any_word(r).capitalize() if r.random() < 0.2 else ""
        inner = ""
        if self.class_name and extension == "py":
            lines += ["", f"class {self.class_name}:"]
            inner = "    "
        else:
            self.class_name = ""
        for name in _function_names(r):
            lines += ["", *(inner + each for each in self._function(r, name))]
        body = "\n".join(lines).strip("\n")
        self.document = Document(file_name(r, extension), body)

    def _function(self, r: random.Random, name: str) -> list[str]:
        parameters = []
        for at in range(r.choice([0, 1, 1, 2, 2, 3])):
            default = _literal(r) if at and r.random() < 0.6 else ""
            parameters.append((lexicon.any_word(r), default))
        for at in range(1, len(parameters)):
            if parameters[at - 1][1] and not parameters[at][1]:
                parameters[at] = (parameters[at][0], _literal(r))
        listed = ", ".join(f"{a}={b}" if b else a for a, b in parameters)
        first = parameters[0][0] if parameters else lexicon.number(r)
        value = r.choice([first, f"{first} {r.choice('+-*')} {r.randint(1, 99)}", _literal(r)])
        header = self.header.format(n=name, a=listed)
        self.functions.append((name, parameters, header.strip(), value))
        lines = [header, self.ending.format(v=value)]
        return [*lines, self.close] if self.close else lines

    def question(self, r: random.Random) -> Asked:
        ways = [self._listed, self._parameters, self._default, self._default, self._returned]
        ways += [self._constant] if self.constants else []
        ways += [self._imported] if self.imports else []
        ways += [self._class] if self.class_name else []
        while True:
            asked = r.choice([*ways, self._absent])(r)
            if asked:
                return asked

    def _found(self, r: random.Random, what: str, quote: str, value: str) -> tuple[str, str]:
        name = self.document.name
        return f"I look for {what} in {name}. It says: {quote}", f"In {name}, {what} is {value}."

    def _listed(self, r: random.Random) -> Asked:
        names = ", ".join(name for name, _, _, _ in self.functions)
        text = r.choice(LISTED).format(f=self.document.name).rstrip("?.")
        thinking = f"I look for functions in {self.document.name}. Their names are {names}."
        return text, thinking, f"In {self.document.name}, the functions are {names}."

    def _default(self, r: random.Random) -> Asked | None:
        function, parameters, header, _ = r.choice(self.functions)
        with_default = [each for each in parameters if each[1]]
        if not with_default:
            return None
        name, default = r.choice(with_default)
        of_function = self.document.body.count(f"{name}=") > 1
        forms = [form for form in DEFAULT if "{n}" in form] if of_function else DEFAULT
        quote = header[header.index(f"{name}={default}") :][: len(f"{name}={default}")]
        thinking, answer = self._found(r, name, quote, default.strip("\"'"))
        return r.choice(forms).format(a=name, n=function), thinking, answer

    def _parameters(self, r: random.Random) -> Asked | None:
        function, parameters, header, _ = r.choice(self.functions)
        if not parameters:
            return None
        listed = ", ".join(name for name, _ in parameters)
        name = self.document.name
        thinking = f"I look for {function} in {name}. It says: {header}"
        text = r.choice(PARAMETERS).format(n=function)
        return text, thinking, f"In {name}, {function} takes {listed}: `{header}`."

    def _returned(self, r: random.Random) -> Asked:
        function, _, header, value = r.choice(self.functions)
        name = self.document.name
        thinking = (
            f"I look for {function} in {name}. It says: {header}\n{self.ending.format(v=value)}"
        )
        return (
            r.choice(RETURNED).format(n=function),
            thinking,
            f"In {name}, {function} returns {value}.",
        )

    def _constant(self, r: random.Random) -> Asked:
        name, value = r.choice(self.constants)
        thinking, answer = self._found(r, name, f"{name} = {value}", value.strip("\"'"))
        asked = name if r.random() < 0.6 else name.lower().replace("_", r.choice("_ "))
        return r.choice(CONSTANT).format(a=asked), thinking, answer

    def _imported(self, r: random.Random) -> Asked:
        module, name = r.choice(self.imports)
        where = self.document.name
        thinking = f"I look for {module} in {where}. It says: from {module} import {name}"
        return (
            r.choice(IMPORTED).format(a=module),
            thinking,
            f"In {where}, {name} is imported from {module}.",
        )

    def _class(self, r: random.Random) -> Asked:
        where = self.document.name
        thinking = f"I look for class in {where}. It says: class {self.class_name}:"
        text = r.choice(CLASS).format(f=where)
        return text, thinking, f"In {where}, the class is {self.class_name}."

    def _absent(self, r: random.Random) -> Asked:
        body = self.document.body.lower()
        while True:
            name = "_".join(lexicon.any_word(r) for _ in range(r.choice([1, 1, 2])))
            if name.lower() not in body:
                break
        name = name.upper() if r.random() < 0.4 else name
        where = self.document.name
        text = r.choice([*CONSTANT, *PARAMETERS, *RETURNED]).format(a=name, n=name)
        return text, f"I look for {name} in {where}. Nothing says it.", f"{name} is not in {where}."


def _function_names(r: random.Random) -> list[str]:
    drawn = (
        r.choice(NAMES).format(lexicon.any_word(r).lower(), lexicon.any_word(r).lower())
        for _ in range(r.randint(1, 4))
    )
    return list(dict.fromkeys(drawn))


def _literal(r: random.Random) -> str:
    way = r.random()
    if way < 0.35:
        return lexicon.number(r)
    if way < 0.5:
        return r.choice(["None", "True", "False", "null", "[]", "0.5", lexicon.decimal(r)])
    return f'"{lexicon.any_word(r)}"' if way < 0.8 else f"'{lexicon.value(r)}'"
