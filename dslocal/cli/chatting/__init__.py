"""What ``dslocal chat`` has of its own: its first screen, and another model in mid-conversation."""
