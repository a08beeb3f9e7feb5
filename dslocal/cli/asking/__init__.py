"""What ``ask`` is made of: its options, its input, the question, the answers, and their output."""
