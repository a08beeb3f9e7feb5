"""Machines that are described in a file, and the ways in which a model can run on them."""

from .machines_file import ClusterMachine, read_machines
from .ways import ClusterWays, GpuWay, RpcWay, cluster_ways

__all__ = [
    "ClusterMachine",
    "ClusterWays",
    "GpuWay",
    "RpcWay",
    "cluster_ways",
    "read_machines",
]
