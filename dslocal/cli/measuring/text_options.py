"""The options of ``dslocal quality`` that say which text is evaluated."""

# Annotations are not strings here, as in option_groups.

from dataclasses import dataclass
from typing import Annotated

import typer

from dslocal.cli.options import EvaluatedTexts, EvaluatedTokens
from dslocal.cli.token_counts import token_count

Chunks = Annotated[
    int | None,
    typer.Option(
        "--chunks",
        metavar="N",
        min=1,
        help="Evaluate at most N chunks of the text. [all]",
        show_default=False,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        metavar="N",
        parser=token_count,
        help="Tokens in a chunk; the second half is scored. [512]",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class TextOptions:
    """Which text is evaluated, and how it is cut."""

    text: EvaluatedTexts = None
    tokens: EvaluatedTokens = None
    chunks: Chunks = None
    ctx: Context = None

    @property
    def are_given(self) -> bool:
        """Return whether any of them was."""
        return self != TextOptions()
