"""Reading a checkpoint: config.json, tokenizer files, safetensors headers, and their source."""
