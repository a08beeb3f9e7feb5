"""The fields of what was read of streamed experts, in JSON; others rely on them and their order."""

STREAMING_FIELDS = [
    "needed_bytes_per_token",
    "read_bytes_per_token",
    "hit_rate",
    "waited_s_per_token",
    "guessed",
    "guessed_right",
]
