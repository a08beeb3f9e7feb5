"""Conversations as the page gets them."""

from __future__ import annotations

from typing import Any

from dslocal import chat, output, prompts

MAX_TITLE = 120  # characters of a conversation's title
MAX_MATCH = 200  # characters of a line that was searched for


def message_json(message: prompts.Message) -> dict[str, Any]:
    """Return a message; of a question what was typed, and whether more was sent."""
    shown = message.typed or message.content
    return {
        "role": message.role,
        "text": shown,
        "sent": message.content if message.content != shown else "",
        "reasoning": message.reasoning,
        "reasoning_s": message.reasoning_s,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in message.calls],
        "cut": message.cut,
    }


def summary_json(stored: chat.StoredConversation, match: str = "") -> dict[str, Any]:
    """Return what a list shows of a conversation."""
    questions = stored.questions
    title = " ".join(questions[0].split()) if questions else ""
    return {
        "id": stored.id,
        "title": title[:MAX_TITLE],
        "model": stored.model,
        "began": stored.began,
        "last": stored.last,
        "turns": len(questions),
        "match": match.strip()[:MAX_MATCH],
    }


def statistics_json(turn: output.Turn) -> dict[str, Any]:
    """Return the figures of an answer that has ended."""
    timings = turn.timings
    return {
        "prompt_tokens": turn.prompt_tokens,
        "cached_tokens": turn.cached_tokens,
        "completion_tokens": turn.completion_tokens,
        "reasoning_tokens": turn.reasoning_tokens,
        "tokens_per_s": round(turn.tokens_per_s, 1),
        "prefill_s": round(timings.prefill, 2) if timings else 0.0,
        "loop": str(turn.loop) if turn.loop else "",
        "no_answer": turn.no_answer or "",
    }
