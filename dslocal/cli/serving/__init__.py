"""What ``serve`` is made of: its options, who may connect, how many slots, and what it prints."""
