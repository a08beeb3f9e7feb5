"""Ollama's own API, as https://github.com/ollama/ollama/blob/main/docs/api.md describes it."""
