"""The page's side of the server that all tests share."""

from __future__ import annotations

import pytest
from support.server.page_client import PageClient
from support.server.serving import Serving


@pytest.fixture(scope="session")
def page(served: Serving) -> PageClient:
    return PageClient(served)
