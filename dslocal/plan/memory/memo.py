"""Remembering what follows from a GGUF header for as long as the header is there: a large
vocabulary's takes 20 MB and more.
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
    """As functools.cache, by the header and whatever else is given by position; the result must not
    hold the header.
    """
    known: WeakKeyDictionary[GgufHeader, dict[tuple[object, ...], T]] = WeakKeyDictionary()

    @functools.wraps(function)
    def remembering(header: GgufHeader, /, *args: P.args, **named: P.kwargs) -> T:
        of_header = known.setdefault(header, {})
        if args not in of_header:
            of_header[args] = function(header, *args, **named)
        return of_header[args]

    return remembering
