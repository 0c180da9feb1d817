"""Whether a port can be listened on, told before anything starts."""

from __future__ import annotations

import errno
import socket


def cannot_listen(listen: tuple[str, int]) -> str:
    """Why nothing can listen on (host, port) now, as a sentence; "" where it can."""
    host, port = listen
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed a moment ago is free
            probe.bind(address)
    except OverflowError:
        return f"{shown(listen)} is beyond the last port"
    except OSError as error:
        taken = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
        return f"{shown(listen)} {taken}"
    return ""


def refuse_taken(thing: str, variable: str, listen: tuple[str, int]) -> None:
    """Raises Failure, with the variable that says where, when nothing can listen there."""
    from pushsvc.cli.failure import MISUSED, Failure

    if cause := cannot_listen(listen):
        cure = f"Stop what listens there (another pushsvc?), or set {variable} to another host:port."
        raise Failure(thing, cause, cure, MISUSED)


def shown(listen: tuple[str, int]) -> str:
    """host:port, with an IPv6 address in brackets."""
    host, port = listen
    return f"{f'[{host}]' if ':' in host else host}:{port}"
