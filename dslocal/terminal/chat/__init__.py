"""The interactive chat: its input line, its slash commands, and its answers while they stream.

:mod:`.loop` is the chat; :mod:`.commands` is the table of slash commands, which the modules
``*_commands`` implement.
"""
