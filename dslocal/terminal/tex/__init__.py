"""Draw TeX mathematics as Unicode."""
