"""The sampling settings among the fields of a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dslocal import prompts
from dslocal.server.exchange.tasks import SentSetting

from .base_schemas import SamplingFields

NO_LIMIT = (-1, -2)  # llama-server's and LM Studio's numbers for as many tokens as fit


def sent_settings(request: SamplingFields) -> Iterator[SentSetting]:
    """Yield the settings that a request of OpenAI's routes has."""
    for name in prompts.SETTINGS:
        value: Any = getattr(request, name, None)
        if value is None:
            continue
        if name == "max_tokens":
            value = token_limit(value)
        if name == "logit_bias":
            value = [f"{token}={bias}" for token, bias in value.items()]
        if name == "stop":
            value = stop_texts(value)
        yield SentSetting(name, value, name)


def completion_settings(request: SamplingFields) -> tuple[SentSetting, ...]:
    """Return the settings of a request in which 0 tokens say that nothing is generated."""
    return tuple(
        each for each in sent_settings(request) if each.name != "max_tokens" or each.value != 0
    )


def token_limit(sent: int) -> int | None:
    """Return a limit of tokens; None where the context alone ends the answer."""
    return None if sent in NO_LIMIT else sent


def stop_texts(sent: str | list[str]) -> list[str]:
    """Return the texts that end an answer. A form's empty field is sent as "", and ends nothing."""
    return [text for text in ([sent] if isinstance(sent, str) else sent) if text]
