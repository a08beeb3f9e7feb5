"""Draft tokens and verify them: speculative decoding."""
