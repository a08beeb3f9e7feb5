"""Keep evaluated prompts on disk, and load those that the next prompt begins with."""
