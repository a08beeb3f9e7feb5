"""Who may read and change conversations: the page alone, for the user whose conversations they are.

This comes on top of what :mod:`dslocal.server.access` checks of every request.
"""

from __future__ import annotations

from dslocal.server.access import Headers, Scope, header_values
from dslocal.server.wire.errors import ApiError

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
        raise ApiError(403, "conversations are for dslocal's own page", code="origin_not_allowed")
