"""Keep evaluated prompts on disk, and take up those that the next prompt begins with."""
