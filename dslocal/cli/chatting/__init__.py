"""Parts of ``dslocal chat``: its first screen, and the change of the model in a conversation."""
