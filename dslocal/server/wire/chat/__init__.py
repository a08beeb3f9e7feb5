"""OpenAI's and DeepSeek's chat completions."""
