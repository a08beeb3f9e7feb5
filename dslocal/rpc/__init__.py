"""llama.cpp's RPC backend: the memory of several machines for one model.

A worker (:mod:`.worker`) offers its machine's memory and processors; the machine that runs the
model asks each worker what it is (:mod:`.inquiry`) before llama.cpp connects (:mod:`.connection`),
because llama.cpp waits for ever on what does not answer and ends its process over what answers
wrongly. llama-cpp-python's wheels come without this backend: :mod:`.library` finds it, and
:mod:`.build` makes it. Knows devices and bytes, no models.
"""
