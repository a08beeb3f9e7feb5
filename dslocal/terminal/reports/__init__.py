"""What commands found, as text for people: a table, a plan, a list of problems.

Each module takes what a command prints as JSON, or the objects behind it, and prints it in 80
columns. Does not know how anything was found.
"""
