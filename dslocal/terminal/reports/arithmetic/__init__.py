"""How a forecast follows from a plan, line by line, so that a calculator gives its two ends.

Every line that has a "=" is exact within the rounding of what it shows, and uses what the lines
above it show.
"""
