"""What nano can do, one module a skill; each draws exchanges of its kind."""
