"""Fields of Anthropic's API that the server does not support, and what it does with each.

The list was read from Anthropic's API reference, from the anthropic SDKs and from what Claude Code
2.1 sends.
"""

from __future__ import annotations

from dslocal.server.wire.client_fields import (
    NO_SEARCH,
    SAME_ANSWER,
    FieldAnswer,
    FieldTable,
    named_fields,
    refused,
)

FOR_ANTHROPIC = "it is for Anthropic's own servers; the answer is the same without it"
WHOLE_CONVERSATION = "the conversation is used as it was sent"
CACHE = "every prompt that repeats an earlier one is cached already"

ANTHROPIC_FIELDS = FieldTable(
    dict(
        [
            *refused("tools run in the client", mcp_servers=(), container=()),
            *refused(NO_SEARCH, web_search=(False,)),
            *named_fields(
                FieldAnswer.IGNORED,
                FOR_ANTHROPIC,
                "betas",
                "diagnostics",
                "inference_geo",
                "metadata",
                "service_tier",
                "speed",
                "user_profile_id",
            ),
            *named_fields(
                FieldAnswer.IGNORED, WHOLE_CONVERSATION, "context_management", "fallbacks"
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                CACHE,
                "cache_control",
                "messages[].cache_control",
                "messages[].content[].cache_control",
                "messages[].content[].content[].cache_control",
                "system[].cache_control",
                "tools[].cache_control",
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                SAME_ANSWER,
                "messages[].content[].caller",
                "messages[].content[].citations",
                "messages[].content[].content[].citations",
                "messages[].id",
                "messages[].model",
                "messages[].stop_reason",
                "messages[].stop_sequence",
                "messages[].type",
                "messages[].usage",
                "system[].citations",
                "tools[].allowed_callers",
                "tools[].defer_loading",
                "tools[].eager_input_streaming",
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                "the models' prompts have no examples of a tool's input and no mark for a failed "
                "call",
                "messages[].content[].is_error",
                "tools[].input_examples",
            ),
        ]
    )
)
