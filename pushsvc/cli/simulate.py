"""pushsvc simulate: APNs, FCM and OAuth on this machine."""

from __future__ import annotations

import click

PORT = click.IntRange(0, 65_535)


@click.command()
@click.option("--apns-production-port", default=0, type=PORT, help="0, the default: any free port. So for all.")
@click.option("--apns-sandbox-port", default=0, type=PORT)
@click.option("--fcm-port", default=0, type=PORT)
@click.option("--oauth-port", default=0, type=PORT)
@click.option("--control-port", default=0, type=PORT, help="The page that shows what arrived, and the fault switches.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as one JSON line.")
def simulate(as_json: bool, **ports: int) -> None:
    """Run simulated APNs (production and sandbox), FCM and OAuth servers: real TLS, HTTP/2, credentials and refusals.

    Point PUSHSVC_APNS_PRODUCTION, PUSHSVC_APNS_SANDBOX, PUSHSVC_FCM, PUSHSVC_OAUTH and PUSHSVC_PROVIDER_CA at what it
    prints. It runs until Ctrl-C or SIGTERM.
    """
    from pushsvc.cli.failure import UNREACHABLE, Failure
    from pushsvc.simulator import Ports, serve

    try:
        serve(Ports(**{name.removesuffix("_port"): port for name, port in ports.items()}), as_json=as_json)
    except OSError as error:
        raise Failure("simulator", str(error), "Give other ports, or none.", UNREACHABLE) from error
