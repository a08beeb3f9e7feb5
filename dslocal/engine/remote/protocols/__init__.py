"""The request and response formats of each engine."""
