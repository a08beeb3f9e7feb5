"""The parts of ``serve``: its options, access, the number of slots, and its messages."""
