"""Whom we trust, and how we prove ourselves: certificates without a clear private key in any file."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import certifi
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from pushsvc.domain.push import Identity


class Trust:
    """The authorities that a provider's certificate may come from: certifi's, and one of the operator's own.

    `ca_file` is a PEM file for libcurl, which compares a path cheaply at every request and a blob byte by byte.
    """

    def __init__(self, provider_ca_pem: bytes | None) -> None:
        self.ca_file = certifi.where()
        self._remove: weakref.finalize[..., Trust] | None = None
        if provider_ca_pem is not None:
            handle, name = tempfile.mkstemp(prefix="pushsvc-ca-", suffix=".pem")
            with os.fdopen(handle, "wb") as file:
                file.write(Path(certifi.where()).read_bytes() + b"\n" + provider_ca_pem)
            self.ca_file = name
            self._remove = weakref.finalize(self, Path(name).unlink, missing_ok=True)

    def context(self, identity: Identity) -> ssl.SSLContext:
        """A TLS client context that verifies the server, offers h2 alone and bears the identity's certificate.

        Raises ssl.SSLError or ValueError where the identity's certificate and key cannot be used.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if identity.certificate_pem and identity.private_key_pem:
            password = secrets.token_bytes(24).hex()
            key = load_pem_private_key(identity.private_key_pem, None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
            )
            with _readable(identity.certificate_pem + b"\n" + key) as path:
                context.load_cert_chain(path, password=password)
        return context

    def close(self) -> None:
        """Removes the file that was made for libcurl; the process's end does it too."""
        if self._remove is not None:
            self._remove()


@contextlib.contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read `content`: memory on Linux, elsewhere a file that is gone afterwards."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp(prefix="pushsvc-identity-")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield path
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            Path(path).unlink()
