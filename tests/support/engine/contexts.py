"""Contexts of sessions, which may be of llama.cpp or elsewhere."""

from __future__ import annotations

from dslocal.chat import Session
from dslocal.engine import EngineContext, LlamaContext


def llama_context(place: Session | EngineContext) -> LlamaContext:
    """Return the context of a session, which is one of llama.cpp."""
    context = place.context if isinstance(place, Session) else place
    assert isinstance(context, LlamaContext)
    return context
