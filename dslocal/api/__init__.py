"""The Python API: what ``import dslocal`` offers, built from the packages below.

``model`` loads a model and asks it, ``answer`` is what it gives, ``conversation`` keeps turns,
``conversion`` writes GGUF files, ``planning`` says what fits. The command line and the server are
its first users. Does not know terminals or HTTP; prints nothing.
"""
