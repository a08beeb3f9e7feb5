"""Fields of the Responses API that the server does not support, and what it does with each.

The list was read from OpenAI's API reference, from its SDKs and from what Codex 0.1 sends.
"""

from __future__ import annotations

from dslocal.server.wire.client_fields import (
    FOR_OPENAI,
    HINT,
    SAME_ANSWER,
    FieldAnswer,
    FieldTable,
    named_fields,
    refused,
)

RESPONSES_FIELDS = FieldTable(
    dict(
        [
            *refused("the server answers only while the client waits", background=(False,)),
            *refused("name earlier turns with previous_response_id", conversation=()),
            *refused("this server has no stored prompts", prompt=()),
            *refused("the conversation is used as it was sent", context_management=()),
            *named_fields(
                FieldAnswer.IGNORED,
                FOR_OPENAI,
                "client_metadata",
                "moderation",
                "prompt_cache_key",
                "prompt_cache_options",
                "prompt_cache_retention",
                "safety_identifier",
                "service_tier",
                "user",
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                "the reasoning itself is in the response, not a summary of it",
                "reasoning.generate_summary",
                "reasoning.summary",
            ),
            *named_fields(FieldAnswer.IGNORED, HINT, "text.verbosity"),
            *named_fields(
                FieldAnswer.IGNORED, "it is about tools that run at OpenAI", "max_tool_calls"
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                SAME_ANSWER,
                "input[].content[].annotations",
                "input[].content[].logprobs",
                "input[].id",
                "input[].phase",
                "input[].status",
                "stream_options.include_obfuscation",
                "tools[].defer_loading",
                "tools[].tools[].defer_loading",
            ),
        ]
    ),
    {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"},
)
