"""The user's own recipes: a YAML file of regex -> type, in which the first match wins.

    'token_embd|^output': Q8_0
    'ffn_(up|gate)_exps': IQ3_S
    '.*': Q6_K

Patterns are searched in the GGUF tensor's name. Tensors that are never quantized (vectors, norms,
the router) are not looked up. A tensor whose rows do not fit a type gets what llama-quantize would
give it instead, such as Q5_0 for Q4_K in MLA's attn_k_b with rows of 128.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.quantize import QUANTIZABLE
from dslocal.errors import NotFoundError, UsageError
from dslocal.files import read_limited, utf8_text
from dslocal.gguf.tensor_types import GgmlType

from .named import file_type_of
from .recipe import ModelTraits, fitting_type, is_quantizable, kept_type

MAX_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class Rule:
    """One line of the file."""

    line: int
    pattern: re.Pattern[str]
    kind: GgmlType


@dataclass(frozen=True)
class FileRecipe:
    """Rules in the file's order."""

    name: str
    rules: tuple[Rule, ...]
    quantizes: bool = False
    file_type: int = 0

    def assign(
        self, tensors: Iterable[MappedTensor], traits: ModelTraits, overhead: int
    ) -> dict[str, GgmlType]:
        """Return the type of every tensor, by GGUF name.

        Raises:
            UsageError: A tensor is matched by no rule, or a rule matches nothing that is left.
        """
        types = {}
        unused = dict.fromkeys(self.rules)
        for tensor in tensors:
            if not is_quantizable(tensor):
                types[tensor.name] = kept_type(tensor)
                continue
            rule = next((rule for rule in self.rules if rule.pattern.search(tensor.name)), None)
            if rule is None:
                raise UsageError(
                    f"{self.name}: no pattern matches {tensor.name}",
                    hint="end the file with '.*': TYPE",
                )
            unused.pop(rule, None)
            types[tensor.name] = fitting_type(rule.kind, tensor.columns)
        for rule in unused:
            raise UsageError(
                f"{self.name}: line {rule.line}: {rule.pattern.pattern!r:.80} "
                "matches no tensor that the lines above leave"
            )
        return types


def load_recipe(path: Path) -> FileRecipe:
    """Read a recipe file.

    Raises:
        NotFoundError: The file does not exist.
        UsageError: It cannot be read, or a line of it makes no sense; the line is named.
    """
    import yaml

    try:
        text = read_limited(path, max_bytes=MAX_FILE)
        node = yaml.compose(utf8_text(text), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recipe") from None
    except (OSError, ValueError, yaml.YAMLError) as e:
        reason = getattr(e, "strerror", None) or e
        raise UsageError(f"{path}: cannot be read: {reason}") from e
    if len(text) > MAX_FILE or not isinstance(node, yaml.MappingNode) or not node.value:
        raise UsageError(f"{path}: is not a mapping of patterns to types")
    rules: list[Rule] = []
    for key, value in node.value:
        rule = _rule(path, key, value)
        if any(other.pattern == rule.pattern for other in rules):
            raise UsageError(f"{path}: line {rule.line}: {rule.pattern.pattern!r:.80} occurs twice")
        rules.append(rule)
    return FileRecipe(path.stem, tuple(rules), file_type=file_type_of(rules[-1].kind))


def _rule(path: Path, key: Any, value: Any) -> Rule:
    """Check one entry of the file, given as YAML nodes. Raises UsageError."""
    import yaml

    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
        raise UsageError(f"{path}: line {line}: PATTERN: TYPE is needed")
    kind = GgmlType.__members__.get(value.value.upper())
    if kind is None or kind not in QUANTIZABLE:
        known = ", ".join(k.name for k in QUANTIZABLE)
        raise UsageError(
            f"{path}: line {line}: unknown type {value.value!r:.40}", hint=f"known: {known}"
        )
    try:
        pattern = re.compile(key.value)
    except re.error as e:
        raise UsageError(
            f"{path}: line {line}: {key.value!r:.80} is not a regular expression: {e}"
        ) from None
    return Rule(line, pattern, kind)
