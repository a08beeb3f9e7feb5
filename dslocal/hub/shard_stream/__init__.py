"""Stream a checkpoint that is never here as a whole.

Shards come when they are needed, verified, and are deleted when they are done with. At most two of
them are on the disk: the one in use and the next, which is fetched meanwhile. Small pieces of a
shard that is not here (its header, a scale) are read by range. What they were is noted beside the
output, and compared once the verified shard is here, in this run or a later one.
"""

from .checkpoint_stream import SUFFIX, stream_checkpoint

__all__ = ["SUFFIX", "stream_checkpoint"]
