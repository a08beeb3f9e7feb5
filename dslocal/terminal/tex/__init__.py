"""TeX's mathematics as Unicode for a terminal.

:mod:`.to_unicode` is what others use; :mod:`.reader` reads TeX, :mod:`.spacing` sets what was read
side by side, :mod:`.boxes` draws rows, and :mod:`.symbols` has the names.
"""
