"""The interactive chat: the input line, slash commands, and answers while they stream.

:mod:`.loop` is the chat; :mod:`.commands` is the table of slash commands, which the modules
``*_commands`` implement.
"""
