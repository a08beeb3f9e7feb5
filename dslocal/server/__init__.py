"""The local server: HTTP in the formats of OpenAI and DeepSeek.

It owns requests, responses and access control. It does not know how a model is prompted or how its
output is read: :mod:`dslocal.prompts` and :mod:`dslocal.output` do. Nothing here prints; the
command does. It needs the extra ``server``, except for :mod:`.discovery`, by which other commands
find a running server, and the modules of :mod:`.wire` that say so.
"""
