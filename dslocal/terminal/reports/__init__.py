"""Results of commands as text for people: tables, plans, lists of problems.

Each module takes what a command prints as JSON, or the objects behind it, and prints it in 80
columns. Does not know how anything was found.
"""
