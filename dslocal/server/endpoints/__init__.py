"""The routes of each format: which schema a route reads, and which response it writes."""
