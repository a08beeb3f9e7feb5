"""Models larger than memory: read the experts that a token needs all at once, before the need.

A mixture of experts uses 3 to 6 % of its weights for a token, and which ones is known as soon as a
layer's router has run. llama.cpp maps the file: whatever is missing is read page by page by the
thread that multiplies with it, one request at a time, of which an SSD gives a small part of what it
can. Here the experts that a router chose are requested together, and llama.cpp continues when they
are in the page cache. The text is the same, bit by bit: only the time of reading changes.

Where each expert is, :mod:`.expert_layout` says, by the files' headers alone.
"""
