"""Prepare requests: make the prompts, settings and output constraints of what is generated.

The rules are those of ``ask`` and ``chat``. Knows wire schemas and prompt families, not queues,
threads or responses.
"""
