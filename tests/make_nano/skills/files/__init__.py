"""Questions about attached files: settings, tables, logs, notes, source code, lines of any kind."""
