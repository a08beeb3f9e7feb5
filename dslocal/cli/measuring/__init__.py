"""Measurements of a model: evaluations (``eval``) and benchmarks (``bench``)."""
