"""The type of every tensor: named recipes, recipe files, a size to stay under, importance."""
