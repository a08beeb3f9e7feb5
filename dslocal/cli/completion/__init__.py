"""Shell completion: the candidates (``values``), and the scripts for each shell (``scripts``)."""
