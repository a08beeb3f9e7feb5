"""Writing GGUF files: layout, metadata, the files themselves, and the journal to resume from."""
