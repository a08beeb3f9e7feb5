"""Restrict the next token by a grammar."""
