"""Request bodies, read in a bounded way."""

from __future__ import annotations

from fastapi import Request

from pushsvc.api.answers import Refused

MAX_BODY_BYTES = 8 * 1024 * 1024
DISCARDED_BYTES = 64 * 1024 * 1024  # read and thrown away, since a client still sending would not see the answer


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body; refused with 413 as soon as more than `max_bytes` are announced or have come."""
    announced = request.headers.get("content-length", "")
    too_large = announced.isdigit() and int(announced) > max_bytes
    if too_large and "expect" in request.headers:  # it waits for our word before it sends
        raise _refused(max_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            too_large = True
            parts.clear()
        if size > DISCARDED_BYTES:
            break
        if not too_large:
            parts.append(part)
    if too_large:
        raise _refused(max_bytes)
    return b"".join(parts)


def _refused(max_bytes: int) -> Refused:
    cause = f"the body is larger than {max_bytes} bytes"
    return Refused(413, "TOOLARGE", cause, "Send it in several requests.", headers={"Connection": "close"})
