"""From a request to what is generated: prompts, settings, output constraints.

The rules are those of ``ask`` and ``chat``. Knows wire schemas and prompt families, not queues,
threads or responses.
"""
