"""Read a checkpoint: config.json, tokenizer files, safetensors headers, and where they come from."""
