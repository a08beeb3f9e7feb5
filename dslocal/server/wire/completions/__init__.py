"""OpenAI's text completions, and DeepSeek's gaps with a suffix."""
