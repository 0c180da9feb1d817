"""The doctor's look at the network: names, TLS with HTTP/2, and the providers' clocks."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from pushsvc.cli.finding import CLOCK_SKEW_S, Finding, fail, ok, warn
from pushsvc.config import Config

TIMEOUT_S = 10.0


def handshakes(config: Config) -> Iterator[Finding]:
    """One finding or two for each provider's host; nothing is sent to it but a greeting."""
    if config.proxy:
        yield warn(
            "network", "a proxy is set, and the hosts are tried without it", "Send a test push: pushsvc push test."
        )
    hosts = {
        "APNs production": config.apns_production,
        "APNs sandbox": config.apns_sandbox,
        "FCM": config.fcm,
        "OAuth": config.oauth,
    }
    for name, authority in hosts.items():
        yield _handshake(config, f"network: {name}", authority)
    yield from _clock(config)


def _context(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if config.provider_ca is not None:
        context.load_verify_locations(config.provider_ca)
    return context


def _handshake(config: Config, subject: str, authority: str) -> Finding:
    host, _, port = authority.rpartition(":")
    host = host.strip("[]")
    context = _context(config)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, int(port)), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            if secure.selected_alpn_protocol() != "h2":
                return fail(
                    subject, f"{authority} does not speak HTTP/2", "Is a proxy in between that takes TLS apart?"
                )
            return ok(subject, f"{authority} answers with {secure.version()} and HTTP/2")
    except socket.gaierror as error:
        return fail(subject, f"{host} does not resolve ({error.strerror})", "Check DNS on this machine.")
    except ssl.SSLCertVerificationError as error:
        cure = "Check the trust store (ca-certificates); behind an inspecting proxy set PUSHSVC_PROVIDER_CA."
        return fail(subject, f"{authority}: {error.verify_message}", cure)
    except ConnectionRefusedError as error:
        cure = f"Does it run, and on this port? Otherwise let this machine open TCP {port} to {host}."
        return fail(subject, f"{authority}: {error.strerror}", cure)
    except OSError as error:
        return fail(subject, f"{authority}: {error}", f"Let this machine open TCP {port} to {host}.")


def _clock(config: Config) -> Iterator[Finding]:
    """Google dates its answers; a wrong clock here makes every JWT invalid at Apple and Google."""
    import httpx

    try:
        with httpx.Client(http2=True, verify=_context(config), timeout=TIMEOUT_S, trust_env=False) as client:
            date = client.head(f"https://{config.oauth}/").headers.get("date")
    except httpx.HTTPError:
        return  # the handshake has told already what is wrong
    if date:
        skew = parsedate_to_datetime(date).timestamp() - time.time()
        if abs(skew) > CLOCK_SKEW_S:
            yield fail(
                "clock", f"Google's clock and this machine's differ by {skew:+.0f} s", "Run NTP on this machine."
            )
        else:
            yield ok("clock", "agrees with Google's")
