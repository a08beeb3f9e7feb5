"""One model on several machines: which layers go where, in how much memory, and how fast."""
