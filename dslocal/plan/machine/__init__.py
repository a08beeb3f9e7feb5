"""Describe a machine: RAM, cores, GPUs, bandwidth and limits, probed or given."""
