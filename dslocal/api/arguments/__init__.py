"""Arguments of the public API: their types, and sizes such as "180GB"."""
