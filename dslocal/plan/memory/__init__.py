"""Compute the memory that a model takes, from its GGUF header and a load config."""
