"""How fast it is: of a loaded model (``benchmark``), and of this machine (``calibrate``)."""
