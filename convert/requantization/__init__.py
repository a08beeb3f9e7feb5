"""Use a GGUF file instead of a checkpoint: make other quantizations from a good one."""
