"""What was read of experts, in words: a chat's ``/stats`` and ``dslocal bench`` say it alike."""

from __future__ import annotations

from dslocal.files import decimal_size
from dslocal.types import StreamingUse

from .speed_text import duration_text


def streaming_lines(use: StreamingUse) -> tuple[str, str]:
    """Return what each token needed and read, and what it waited for, in two short lines."""
    needed, read = use.needed_bytes_per_token, use.read_bytes_per_token
    return (
        f"each token needed {decimal_size(needed)} of experts, and read {decimal_size(read)}",
        f"{use.hit_rate:.0%} were in memory in time; each token waited "
        f"{duration_text(use.waited_s_per_token)} for the disk",
    )
