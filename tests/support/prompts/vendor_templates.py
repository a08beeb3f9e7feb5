"""The vendors' chat templates, rendered as transformers does: the oracle for how a family
prompts.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jinja2.sandbox
from support.prompts.dialogues import TEMPLATES

from dslocal.prompts import Message, ToolCall

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
ENDS = (EOS, "\n<|EOT|>\n")


def rendered(
    name: str, messages: Sequence[Message], variables: dict[str, Any] | None = None
) -> str:
    """The prompt that the template ``name`` makes. An answer to continue is rendered as if done,
    and its end cut off.

    The reasoning stands in the text of its answer, between tags, as a program that knows no
    ``Message.reasoning`` would write it; where the template of a model knows no reasoning, it is
    left out. V3.1's template takes the text of a message with ``prefix`` for reasoning that
    continues, so it gets ``prefix`` only where reasoning alone is given.
    """
    goes_on = bool(messages) and messages[-1].prefix
    text = _template(name).render(
        messages=[_as_dict(m, source(name)) for m in messages],
        bos_token=BOS,
        eos_token=EOS,
        add_generation_prompt=not goes_on,
        **(variables or {}),
    )
    return (
        text.removesuffix(next((end for end in ENDS if text.endswith(end)), ""))
        if goes_on
        else text
    )


def source(name: str) -> str:
    """The template called ``name``, as its maker publishes it."""
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source(name))


def _as_dict(message: Message, template: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning and "</think>" in template:
        fields["content"] = f"<think>\n{message.reasoning}\n</think>{message.content}"
        if message.prefix and not message.content:
            fields |= (
                {"prefix": True, "content": message.reasoning}
                if "prefix" in template
                else {"content": f"<think>\n{message.reasoning}"}
            )
    if message.calls:
        nothing = (
            None if "message['content'] is none" in template else ""
        )  # R1-0528's template stumbles over None
        fields |= {
            "content": fields["content"] or nothing,
            "tool_calls": [_call(call) for call in message.calls],
        }
    return fields


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
