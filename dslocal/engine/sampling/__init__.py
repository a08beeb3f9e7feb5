"""Draw the next token from logits."""
