"""models.yaml: which models are known, and what is known about each."""

from .lookup import find_entry, known_names, load_registry

__all__ = ["find_entry", "known_names", "load_registry"]
