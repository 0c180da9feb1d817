"""Senders move bytes: one for all providers, on libcurl (the hot path) or on httpx (control traffic, fallback)."""

from __future__ import annotations

from pushsvc.dispatch.ports import Sender


def make_sender(
    name: str,
    *,
    capacity: int,
    connect_timeout_s: float,
    answer_timeout_s: float,
    provider_ca_pem: bytes | None,
    proxy: str,
) -> Sender:
    """The sender called `curl` or `httpx`, for at most `capacity` requests in flight; it connects with the first.

    `provider_ca_pem` is trusted beside the public authorities; `proxy` is http://[user:password@]host:port or "".
    """
    from pushsvc.senders.trust import Trust

    if name == "curl":
        from pushsvc.senders.curl import CurlSender

        return CurlSender(
            capacity=capacity,
            connect_timeout_s=connect_timeout_s,
            answer_timeout_s=answer_timeout_s,
            trust=Trust(provider_ca_pem),
            proxy=proxy,
        )
    if name == "httpx":
        from pushsvc.senders.httpx import HttpxSender

        return HttpxSender(
            capacity=capacity,
            connect_timeout_s=connect_timeout_s,
            answer_timeout_s=answer_timeout_s,
            trust=Trust(provider_ca_pem),
            proxy=proxy,
        )
    raise ValueError(f"there is no sender {name!r}; use curl or httpx")
