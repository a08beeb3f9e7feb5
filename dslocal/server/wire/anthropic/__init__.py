"""Anthropic's Messages API, as https://docs.anthropic.com/en/api/messages describes it."""
