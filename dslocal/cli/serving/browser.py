"""Open the chat page in the user's browser, where there is one on this screen."""

from __future__ import annotations

import sys
import threading
import webbrowser
from collections.abc import Mapping

REMOTE_VARIABLES = ("SSH_CONNECTION", "SSH_TTY")
DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY")
SYSTEMS_WITH_A_SCREEN = ("darwin", "win32")


def why_no_browser(env: Mapping[str, str], platform: str = sys.platform) -> str | None:
    """Return why no browser can be opened here, in a few words; None if one can.

    A BROWSER that the user has set is taken in any case: editors that work over SSH set one that
    opens pages on the user's own machine.

    Args:
        env: The environment.
        platform: The system, as ``sys.platform`` names it.
    """
    if env.get("BROWSER"):
        return None
    if any(env.get(name) for name in REMOTE_VARIABLES):
        return "this is an SSH session"
    if platform not in SYSTEMS_WITH_A_SCREEN and not any(map(env.get, DISPLAY_VARIABLES)):
        return "there is no display"
    return None


def open_in_background(url: str) -> None:
    """Open ``url`` in the browser, which may take seconds to start."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
