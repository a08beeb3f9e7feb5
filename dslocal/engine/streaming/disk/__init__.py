"""The disk that holds a model's files: how pieces of them are read, and what is fastest."""
