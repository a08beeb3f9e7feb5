"""Measure the speed of a loaded model (``benchmark``) and of this machine (``calibrate``)."""
