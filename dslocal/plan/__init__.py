"""What runs on a machine, how, and how fast: pure functions over a GGUF header and a machine's
description. Loads and generates nothing.
"""
