"""Remember what follows from a GGUF header for as long as the header is there.

A header with a large vocabulary takes 20 MB and more, so nothing here may keep one alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from dslocal.gguf.header import GgufHeader

P = ParamSpec("P")
T = TypeVar("T")


def cached_by_header(
    function: Callable[Concatenate[GgufHeader, P], T],
) -> Callable[Concatenate[GgufHeader, P], T]:
    """Cache results as ``functools.cache`` does, by the header and what else is given by position.

    The result must not hold the header.
    """
    results: WeakKeyDictionary[GgufHeader, dict[tuple[object, ...], T]] = WeakKeyDictionary()

    @functools.wraps(function)
    def cached(header: GgufHeader, /, *args: P.args, **named: P.kwargs) -> T:
        of_header = results.setdefault(header, {})
        if args not in of_header:
            of_header[args] = function(header, *args, **named)
        return of_header[args]

    return cached
