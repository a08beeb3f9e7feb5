"""Write the code that belongs into a gap."""

import dslocal

PREFIX = '''def area(width, height):
    """Return the product of width and height."""
'''
SUFFIX = """
    return result
"""

with dslocal.load("nano") as model:
    print(PREFIX + model.fill(PREFIX, SUFFIX, seed=1).text + SUFFIX)
