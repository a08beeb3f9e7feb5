"""What is generated for one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dslocal import output, prompts
from dslocal.server.exchange.events import new_key
from dslocal.server.wire.client_fields import IgnoredField

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar


@dataclass(frozen=True)
class PreparedRequest:
    """What is generated for one request.

    Attributes:
        family: How the output is read.
        prompt: The prompt's segments, whose token ids are ``ids``.
        prefilled: Those at the end of the prompt that are the beginning of the answer.
        settings: How tokens are sampled.
        seed: The seed of the first answer; the k-th has ``seed`` + k.
        n: The number of answers.
        top_logprobs: How many alternatives each token's logprobs have; None for no logprobs.
        constraint: What the answer must look like.
        grammar: The constraint's grammar, filled in by :func:`.validated`.
        ignores_cache: Whether nothing of the KV cache is used.
        ids: The prompt's token ids, filled in by :func:`.validated` where they were not sent.
        echo: What stands before every text of the response.
        has_prompt_logprobs: Whether the prompt's tokens have logprobs too.
        has_answer: Whether anything is generated.
        ignored: What the client sent and the answer does not obey.
        key: Names the request. Ids of the response and of its tool calls are made of it.
    """

    family: prompts.Family
    prompt: Sequence[prompts.Segment]
    settings: prompts.Settings
    seed: int
    prefilled: Sequence[prompts.Segment] = ()
    n: int = 1
    top_logprobs: int | None = None
    constraint: output.OutputConstraint | None = None
    grammar: Grammar | None = None
    ignores_cache: bool = False
    ids: Sequence[int] = ()
    echo: str = ""
    has_prompt_logprobs: bool = False
    has_answer: bool = True
    ignored: tuple[IgnoredField, ...] = ()
    key: str = field(default_factory=new_key)
