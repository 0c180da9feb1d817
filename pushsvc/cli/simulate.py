"""pushsvc simulate: APNs, FCM and OAuth on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

PORT = click.IntRange(0, 65_535)
CONTROL_PORT = 9440


@click.command()
@click.option("--env", is_flag=True, help="Print the variables for the simulator that runs, and end: to be evaluated.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the CA here, and a .p12, a .p8, a service account and device tokens to begin with.",
)
@click.option("--apns-production-port", default=9441, show_default=True, type=PORT, help="0: any free one; so for all.")
@click.option("--apns-sandbox-port", default=9442, show_default=True, type=PORT)
@click.option("--fcm-port", default=9443, show_default=True, type=PORT)
@click.option("--oauth-port", default=9444, show_default=True, type=PORT)
@click.option(
    "--control-port",
    default=CONTROL_PORT,
    show_default=True,
    type=PORT,
    help="The page that shows what arrived, and the fault switches.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as one JSON line.")
def simulate(env: bool, folder: Path | None, as_json: bool, **ports: int) -> None:
    """Run simulated APNs (production and sandbox), FCM and OAuth servers: real TLS, HTTP/2, credentials and refusals.

    It prints the PUSHSVC_* variables that point pushsvc at it, and runs until Ctrl-C or SIGTERM. In the terminal of
    pushsvc up: eval "$(pushsvc simulate --env)". See docs/simulator.md.
    """
    from pushsvc.cli.failure import MISUSED, Failure
    from pushsvc.simulator import Ports, Simulator, describe, serve
    from pushsvc.simulator import as_json as in_json

    if env:
        click.echo(exports(_running(ports["control_port"])))
        return

    def tell(simulator: Simulator) -> str:
        page = f"GET {simulator.control_url}/help lists the operations of the control port."
        kept = f"Folder           {simulator.authority.folder}\n" if folder else ""
        return f"{describe(simulator)}\n{kept}\n{exports(simulator.endpoints())}\n\n{page} Ctrl-C stops."

    try:
        serve(
            Ports(**{name.removesuffix("_port"): port for name, port in ports.items()}),
            folder.absolute() if folder else None,
            tell=in_json if as_json else tell,
        )
    except OSError as error:
        cure = "Stop the other simulator, or give other ports (--apns-production-port 0 and so on: any free one)."
        raise Failure("simulator", error.strerror or str(error), cure, MISUSED) from error


def exports(endpoints: dict[str, Any]) -> str:
    """The lines for a shell that point pushsvc at these endpoints."""
    from shlex import quote

    values = {
        "PUSHSVC_APNS_PRODUCTION": endpoints["apns_production"]["host"],
        "PUSHSVC_APNS_SANDBOX": endpoints["apns_sandbox"]["host"],
        "PUSHSVC_FCM": endpoints["fcm"]["host"],
        "PUSHSVC_OAUTH": endpoints["oauth"]["host"],
        "PUSHSVC_PROVIDER_CA": endpoints["ca_path"],
    }
    return "\n".join(f"export {name}={quote(value)}" for name, value in values.items())


def _running(port: int) -> dict[str, Any]:
    import httpx

    from pushsvc.cli.failure import UNREACHABLE, Failure
    from pushsvc.simulator import ControlClient

    url = f"http://127.0.0.1:{port}"
    try:
        with ControlClient(url, timeout_s=5.0) as control:
            return control.endpoints()
    except (httpx.HTTPError, ValueError, KeyError) as error:
        cure = "Start one: pushsvc simulate. If it has another control port, give that as --control-port."
        raise Failure("simulator", f"none runs at {url}", cure, UNREACHABLE) from error
