"""The process as a whole: its environment, its standard streams, and the signals that end it."""
