"""Runs a simulator in the foreground, until it is told to stop."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from .faults import KINDS
from .simulator import Ports, Simulator
from .starter import lay_out


def serve(
    ports: Ports | None = None,
    folder: Path | None = None,
    *,
    tell: Callable[[Simulator], str] | None = None,
    out: TextIO | None = None,
) -> None:
    """Starts, prints what `tell` says (by default where everything is), and returns after SIGINT or SIGTERM.

    `folder` keeps the CA, and credentials and device tokens to begin with, for the next start.
    """
    out, tell = out or sys.stdout, tell or describe
    stopping = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Simulator.start(ports, folder) as simulator:
            if folder is not None:
                lay_out(simulator)
            print(tell(simulator), file=out, flush=True)
            stopping.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def as_json(simulator: Simulator) -> str:
    """Where everything is, as one JSON line."""
    return json.dumps(simulator.endpoints())


def describe(simulator: Simulator) -> str:
    """Where everything is, as text for a person."""
    return "\n".join(
        (
            f"APNs production  {simulator.apns_production.url}",
            f"APNs sandbox     {simulator.apns_sandbox.url}",
            f"FCM              {simulator.fcm.url}",
            f"OAuth            {simulator.oauth.url}/token",
            f"CA to trust      {simulator.authority.ca_path}",
            f"Page and control {simulator.control_url}/",
        )
    )


def main(arguments: list[str] | None = None) -> None:
    """The command line of `python -m pushsvc.simulator`."""
    faults = "\n".join(f"  {kind.name:24} {kind.description}" for kind in KINDS.values())
    parser = argparse.ArgumentParser(
        prog="python -m pushsvc.simulator",
        description="APNs and FCM on this machine: real TLS, HTTP/2, credentials and refusals.",
        epilog=f"fault switches (control port, POST /faults):\n{faults}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for port in fields(Ports):
        name = port.name.replace("_", "-")
        parser.add_argument(f"--{name}-port", type=int, default=0, metavar="N", help=f"port of {name} (default: any)")
    parser.add_argument("--json", action="store_true", help="print the endpoints as one JSON line")
    given = parser.parse_args(arguments)
    ports = Ports(*(getattr(given, f"{port.name}_port") for port in fields(Ports)))
    serve(ports, tell=as_json if given.json else describe)
