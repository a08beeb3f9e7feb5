"""How each engine spells requests for tokens, and what it answers."""
