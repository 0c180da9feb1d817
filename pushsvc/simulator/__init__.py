"""APNs and FCM as real TLS and HTTP/2 servers on this machine; imports nothing from the rest of pushsvc, on purpose."""

from .simulator import Ports, Simulator

__all__ = ["Ports", "Simulator"]
