"""The KV cache of a sequence in llama.cpp: shortened, saved to a file, and restored."""
