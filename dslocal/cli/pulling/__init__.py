"""What ``dslocal pull`` is made of: fetching a model, and what to say without a network."""
