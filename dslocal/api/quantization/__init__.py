"""Other quantizations of GGUF files, and the importance matrices that small ones are made with."""
