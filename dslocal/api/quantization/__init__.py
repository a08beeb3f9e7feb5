"""Quantize GGUF files, make importance matrices for that, and choose the files to write."""
