"""Look into llama.cpp's graphs while they are computed: the inputs of matrix multiplications."""

from .collector import ActivationCollector

__all__ = ["ActivationCollector"]
