"""Stream a checkpoint, which is never on this machine as a whole.

A shard is downloaded and verified when it is needed, and deleted after its last use. At most two
are on the disk: the one in use and the next, which is downloaded meanwhile. Small pieces of a shard
that is not here yet (its header, a scale) are read by range. Their contents are recorded beside the
output, and compared with the verified shard when that has arrived, in this run or a later one.
"""

from .checkpoint_stream import SUFFIX, stream_checkpoint

__all__ = ["SUFFIX", "stream_checkpoint"]
