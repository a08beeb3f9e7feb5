"""A GGUF file in place of a checkpoint: other quantizations made from a good one."""
