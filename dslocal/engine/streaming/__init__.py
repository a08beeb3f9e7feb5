"""Models larger than memory: read all experts that a token needs at once, before they are used.

A mixture of experts uses 3 to 6 % of its weights for a token, and which ones is known as soon as a
layer's router has run. llama.cpp maps the file: whatever is missing is read page by page by the
thread that multiplies with it, one request at a time, and so an SSD reaches a small part of its
speed. Here the experts that a router chose are read together, and llama.cpp continues when they
are there. The text is the same, bit by bit: only the time of reading changes.

* :mod:`.expert_layout`: where each expert's matrices are, from the headers of all files.
* :mod:`.system_calls`: what Linux and macOS offer for reading ahead, behind one interface.
* :mod:`.disk.reader`: threads read pieces past the page cache, request them of it, or read them
  into it.
  :mod:`.disk.measurement` finds the fastest way on this disk, and its number of threads.
* :mod:`.store`: keeps experts that were read. :mod:`.own_memory` is memory of this process, in
  pieces (:mod:`.piece_pool`) that :mod:`.overlay` shows to llama.cpp in place of pieces of the
  mapped file. Where files cannot be read past the page cache, and on macOS, the page cache keeps
  them.
* :mod:`.read_queue`: the threads. What is needed now comes first, then what a later layer is sure
  to need, then guesses, which are dropped when the next router has chosen.
* :mod:`.streamer`: sees the graph. It pauses after a router's choice, whose matrices are queued in
  the order of multiplication, and before each multiplication until that matrix is there: the
  second matrix is read while the first is multiplied with. :mod:`.tensor_places` finds where
  llama.cpp has the matrices.
* :mod:`.lookahead`: the next layer's router on the present hidden state and what is added to it on
  average; V4's first layers choose by the token's id, which is certain: they are read before the
  graph begins. Guesses stay only if tokens are quicker with them.
* A prompt touches nearly all experts of a layer: the next layer is then read whole while the
  present one computes, and micro-batches are as large as the plan has them.
* :mod:`.resident`: what every token needs is locked in memory, or read once.

The experts that were not used for longest make room for others. Memory is taken while the machine
has some to spare, and given back when other programs need it. If a piece cannot be read, the thread
that reads it finds out first, and an error names the file. If llama.cpp touched that piece, SIGBUS
would end the process. Mapped experts are advised MADV_RANDOM, or each fault would read neighbours
that are not needed. A context of a model that fits has no callback at all. Whether to stream is
decided in :mod:`dslocal.plan`.
"""
