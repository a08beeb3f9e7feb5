"""The parts of ``dslocal pull``: the download of a model, and the advice without a network."""
