"""Fields and options of Ollama's API that the server does not support, and what it does with each.

The list was read from Ollama's api/types.go and docs/api.md.
"""

from __future__ import annotations

from dslocal.server.wire.client_fields import (
    SAME_ANSWER,
    TEXT_ONLY,
    UNSUPPORTED_SAMPLER,
    FieldAnswer,
    FieldTable,
    named_fields,
    refused,
)

AT_START = "it is set when the server starts (dslocal serve --ctx and others)"
AS_THE_VENDOR = "the prompt is written as the model's vendor specifies"

OLLAMA_FIELDS = FieldTable(
    dict(
        [
            *refused(
                UNSUPPORTED_SAMPLER,
                **{"options.mirostat": (0,), "options.tfs_z": (1,), "options.typical_p": (0, 1)},
            ),
            *refused(TEXT_ONLY, **{"images": (), "messages[].images": ()}),
            *refused(AS_THE_VENDOR, template=()),
            *refused("send earlier turns as messages to /api/chat", context=()),
            *named_fields(
                FieldAnswer.PART_OF_ANOTHER,
                SAME_ANSWER,
                "options.mirostat_eta",
                "options.mirostat_tau",
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                AT_START,
                "options.f16_kv",
                "options.logits_all",
                "options.low_vram",
                "options.main_gpu",
                "options.num_batch",
                "options.num_gpu",
                "options.num_thread",
                "options.numa",
                "options.use_mlock",
                "options.use_mmap",
                "options.vocab_only",
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                "penalties count all tokens of prompt and answer",
                "options.penalize_newline",
                "options.repeat_last_n",
            ),
            *named_fields(
                FieldAnswer.IGNORED,
                "a prompt that is too long is refused and not shortened",
                "options.num_keep",
                "shift",
                "truncate",
            ),
            *named_fields(FieldAnswer.IGNORED, SAME_ANSWER, "messages[].tool_calls[].type"),
        ]
    ),
    {"name": "model"},
)
