"""Runs pods as processes of this machine, in place of a kubelet and a container runtime.

What a pod sees is as in a cluster: its ServiceAccount's token, bound to the pod and renewed; its
environment, volumes and arguments; probes, restarts and an orderly end. What it does not have is
isolation: no user, network or file system of its own but for the mounts, and no resource limits.
Ports are the machine's: see :mod:`weir_local.cluster.podrunner.ports`.
"""
