"""Quantizations of GGUF files, importance matrices for small ones, and which files are written."""
