"""The parts of ``ask``: its options, its input, the question, the answers, and their output."""
