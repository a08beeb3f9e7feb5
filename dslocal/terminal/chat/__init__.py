"""The interactive chat: input, commands, and the answer as it comes."""
