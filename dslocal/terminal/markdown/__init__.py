"""Markdown as it streams: blocks that are final, inline markup, and lines for a terminal.

Text goes through :mod:`.stream` (a stream of text to pieces of blocks that are final),
:mod:`.inline` (what is inside a paragraph) and :mod:`.layout` (lines of styled text). Nothing here
writes to a terminal.
"""
