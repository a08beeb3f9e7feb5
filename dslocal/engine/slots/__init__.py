"""Evaluate several conversations in one llama.cpp context."""
