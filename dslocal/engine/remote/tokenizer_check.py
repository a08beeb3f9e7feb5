"""Check, before a question is sent, that the engine's tokenizer equals the local one.

With another tokenizer, the ids would stand for other words, and answers would be nonsense that
looks like a weak model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dslocal.engine.model import LlamaModel
from dslocal.errors import NotFoundError, RemoteEngineError
from dslocal.prefix import common_prefix_length

from .connection import EngineConnection
from .failures import nonsense_error
from .protocols.protocol import EngineProtocol, UnexpectedReplyError, token_ids
from .served import ServedEngine

# words, figures, code, white space, and scripts that pre-tokenizers treat each in their own way
PROBE = (
    "The quick brown fox’s 1234567890 jumps.\n\n\tdef f(x):\n        return x**2  # 3.14\r\n"
    "深度求索，你好！ Übergrößenträger naïve Привет мир שלום こんにちは 한국어 "
    "🙂👩‍🔬 ∑x²≠½ <a href='b'>"
)
HINT = "use --tokenizer with the tokenizer of the engine's own model"
MAX_SHOWN = 24


def check_tokenizer(
    connection: EngineConnection,
    engine: ServedEngine,
    model: LlamaModel,
    specials: Sequence[str],
) -> str | None:
    """Compare the ids of a text, and of special tokens, here and at the engine.

    Args:
        connection: Speaks with the engine.
        engine: The engine.
        model: The vocabulary here.
        specials: Special tokens that prompts will have.

    Returns:
        Why it could not be checked; None where it was.

    Raises:
        RemoteEngineError: They differ.
    """
    if engine.n_vocab and engine.n_vocab != model.n_vocab:
        raise _difference(
            engine, f"has {engine.n_vocab:,} tokens, and the local one has {model.n_vocab:,}"
        )
    protocol = engine.protocol
    if protocol is None:
        return f"{engine.address.url}: does not accept token ids"
    here = model.encode(PROBE)
    try:
        there = _tokenize(connection, engine, protocol, PROBE)
    except NotFoundError:
        return f"{engine.address.url}: has no /tokenize, so its tokenizer is not checked"
    if here != there:
        text = _first_difference(model, here, there)
        raise _difference(engine, f"encodes {text!r} as other ids")
    known = [(token, model.special_id(token)) for token in specials]
    ids = [id for _, id in known if id is not None]
    spelled = "".join(token for token, id in known if id is not None)
    if spelled and _tokenize(connection, engine, protocol, spelled) != ids:
        raise _difference(engine, "has other special tokens")
    return None


def _first_difference(model: LlamaModel, here: Sequence[int], there: Sequence[int]) -> str:
    """Return the text that begins where the ids differ."""
    same = common_prefix_length(here, there)
    data = b"".join(model.piece(id) for id in here[same:])
    return data[:MAX_SHOWN].decode("utf-8", "replace")


def _tokenize(
    connection: EngineConnection, engine: ServedEngine, protocol: EngineProtocol, text: str
) -> list[int]:
    body = protocol.tokenize_body(engine.model, text)
    reply: Any = connection.post("/tokenize", body)
    try:
        return token_ids(reply.get("tokens") if isinstance(reply, dict) else None)
    except UnexpectedReplyError as e:
        raise nonsense_error(engine.address, f"sends {e}") from None


def _difference(engine: ServedEngine, how: str) -> RemoteEngineError:
    return RemoteEngineError(
        f"{engine.address.url}: its tokenizer differs from the local one: it {how}", hint=HINT
    )
