"""The local server: HTTP in OpenAI's and DeepSeek's wire formats over the families, settings and
answers that chat uses.

Knows requests, responses and who may ask; how a model is prompted and read it does not know,
:mod:`dslocal.chat` does. Nothing here prints: the command does. Needs the extra ``server``;
:mod:`.beacon`, by which other commands find a server, does without.
"""
