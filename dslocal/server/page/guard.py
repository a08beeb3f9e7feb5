"""Who may read and change conversations: the page alone, for the user whose conversations they are.

This comes on top of what :mod:`dslocal.server.access` checks of every request.
"""

from __future__ import annotations

import os

from dslocal.server.access import Headers, Scope, header_values
from dslocal.server.wire.errors import ApiError

from .peer_user import peer_uid

ROOT = 0
OWN_SITES = ("same-origin", "none")  # values of Sec-Fetch-Site: this page, or typed by the user


def require_own_page(scope: Scope) -> None:
    """Refuse a request that another page's script has sent.

    Origins that may use the API (``--allow-origin``) may not read what the user said elsewhere.

    Raises:
        ApiError: 403.
    """
    headers: Headers = scope["headers"]
    hosts = header_values(headers, b"host")
    own = [f"http://{host}" for host in hosts]
    is_foreign = any(origin not in own for origin in header_values(headers, b"origin"))
    sites = header_values(headers, b"sec-fetch-site")
    if is_foreign or any(site not in OWN_SITES for site in sites):
        raise ApiError(
            403, "only dslocal's own page can use the conversations", code="origin_not_allowed"
        )


def require_own_user(scope: Scope) -> None:
    """Refuse a request of another user of this machine, where that can be known.

    For servers without a key, which listen to their own machine alone.

    Raises:
        ApiError: 403.
    """
    client, server = scope.get("client"), scope.get("server")
    if client is None or server is None:
        return
    uid = peer_uid((client[0], client[1]), (server[0], server[1]))
    if uid is not None and uid not in (os.geteuid(), ROOT):
        raise ApiError(
            403,
            "only the user who runs this server can use the conversations (with --api-key, others "
            "can)",
            code="other_user",
        )
