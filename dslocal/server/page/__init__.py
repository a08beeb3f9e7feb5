"""The chat page: its files, and the conversations that it shows.

The page is a front end of the same session code as the terminal chat (:mod:`dslocal.chat`), and its
conversations are the same files. An answer belongs to the server, not to the page that asked for
it: it goes on when the page is reloaded, until it ends or is stopped.
"""
