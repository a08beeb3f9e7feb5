"""The ways to get a published model, and the choice between them."""
