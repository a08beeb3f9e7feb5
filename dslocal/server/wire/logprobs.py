"""The logprobs of tokens as JSON. Needs nothing of the extra ``server``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel, TokenLogprobs

DECIMALS = 6
MAX_LOGPROBS = 20  # alternatives of a token, as OpenAI and DeepSeek have it


def chat_logprobs(
    entry: TokenLogprobs, model: LlamaModel, *, with_ids: bool = False
) -> dict[str, Any]:
    """Return one position as an item of OpenAI's ``logprobs.content``.

    Args:
        entry: The position.
        model: Has the text of the tokens.
        with_ids: Whether tokens have their ``id`` too, which OpenAI's do not.
    """

    def token_json(id: int, logprob: float) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "token": token_text(id, model),
            "logprob": round(logprob, DECIMALS),
            "bytes": list(model.piece(id)),
        }
        if with_ids:
            fields["id"] = id
        return fields

    found = token_json(entry.id, entry.logprob)
    found["top_logprobs"] = [token_json(id, logprob) for id, logprob in entry.top]
    return found


def completion_logprobs(
    entries: Sequence[TokenLogprobs], model: LlamaModel, offset: int, *, first: int | None = None
) -> dict[str, list[Any]]:
    """Return positions as OpenAI's completions have them: a list for each field.

    Args:
        entries: The positions, one a token.
        model: Has the text of the tokens.
        offset: The characters before the first token, for ``text_offset``.
        first: A token before all others, which has no logprobs.
    """
    texts = [token_text(entry.id, model) for entry in entries]
    logprobs: list[float | None] = [round(entry.logprob, DECIMALS) for entry in entries]
    top: list[dict[str, float] | None] = [
        {token_text(id, model): round(logprob, DECIMALS) for id, logprob in entry.top}
        for entry in entries
    ]
    if first is not None:
        texts.insert(0, token_text(first, model))
        logprobs.insert(0, None)
        top.insert(0, None)
    return {
        "tokens": texts,
        "token_logprobs": logprobs,
        "top_logprobs": top,
        "text_offset": list(_offsets(texts, offset)),
    }


def token_text(id: int, model: LlamaModel) -> str:
    """Return the text of a token; for one that has none, its name in the vocabulary."""
    piece = model.piece(id)
    return piece.decode("utf-8", "replace") if piece else model.header.tokens()[id]


def _offsets(texts: Sequence[str], offset: int) -> Iterator[int]:
    for text in texts:
        yield offset
        offset += len(text)
