"""Ask llama.cpp itself how much memory a model takes."""
