"""Models that other engines serve."""
