"""How a published model is had: what is offered of it, and which offer is taken here."""
