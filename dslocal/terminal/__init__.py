"""Everything that is drawn on a terminal, and what is typed into the chat.

Text of a model, a file or a header reaches a terminal through :mod:`.sanitise` alone.

* :mod:`.chat`: the interactive chat;
* :mod:`.markdown` and :mod:`.tex`: an answer's text as lines, while it streams;
* :mod:`.reports`: what commands found, for people;
* :mod:`.progress` and :mod:`.progress_line`: how far work is;
* :mod:`.wrapping`, :mod:`.pager`, :mod:`.clipboard` and :mod:`.capabilities`: the terminal itself.

Knows sessions, their events and plans; does not know the engine's inside, the hub or the converter.
"""
