"""APNs and FCM as real TLS and HTTP/2 servers on this machine; imports nothing from the rest of pushsvc, on purpose."""

from .client import ControlClient, ControlError
from .serve import as_json, describe, serve
from .simulator import Ports, Simulator

__all__ = ["ControlClient", "ControlError", "Ports", "Simulator", "as_json", "describe", "serve"]
