"""The Python API: what ``import dslocal`` offers, built from the packages below.

``loading`` loads a model, ``model`` generates answers, ``answer`` describes them, ``conversation``
keeps turns, ``conversion`` writes GGUF files, and ``planning`` computes what fits. The command line
and the server use this API, too. It does not know terminals or HTTP, and prints nothing.
"""
