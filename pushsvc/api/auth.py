"""Who calls: an app by its token, the administrator by the key; both as Bearer, neither ever in a URL or a log."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from pushsvc.api.answers import Refused
from pushsvc.bootstrap import Service

FREE_FAILURES = 10  # wrong tokens of one address before it has to wait
WINDOW_S = 60.0
MAX_ADDRESSES = 10_000

_bearer = HTTPBearer(auto_error=False, description="The app token, or the admin key for /v1/apps.")
Scheme = Annotated[object, Security(_bearer)]


class Throttle:
    """Counts an address's failures in windows of WINDOW_S, in this process; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Seconds this address has to wait before a token of its is looked at; 0 when it need not."""
        since, count = self._failures.get(address, (0.0, 0))
        left = since + WINDOW_S - self._clock()
        return left if count >= FREE_FAILURES and left > 0 else 0.0

    def failed(self, address: str) -> None:
        now = self._clock()
        with self._lock:
            since, count = self._failures.get(address, (now, 0))
            self._failures[address] = (since, count + 1) if now - since < WINDOW_S else (now, 1)
            if len(self._failures) > MAX_ADDRESSES:
                self._failures = {a: f for a, f in self._failures.items() if now - f[0] < WINDOW_S}


class Doorkeeper:
    """Lets in who has a right to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._throttle = Throttle()
        self._accepted: set[bytes] = set()

    def app(self, request: Request) -> int:
        """The id of the app whose token came; raises Refused (401, 403, 429)."""
        token = _token(request, "Give the app token as 'Authorization: Bearer <token>'.")
        digest = hashlib.sha256(token.encode()).digest()
        if digest not in self._accepted:  # who was let in before shares its address with others in peace
            self._look_at(request)
        app_id = self._service.apps.authenticate(token)
        if app_id is None:
            self._accepted.discard(digest)
            off = self._service.apps.switched_off(token)
            if off is not None:
                raise Refused(
                    403, "FORBIDDEN", "the app is switched off", f"Switch it on: pushsvc app switch {off} on."
                )
            raise self._wrong(request, "the app token is unknown", "Check the token, or rotate it: pushsvc app rotate.")
        if len(self._accepted) >= MAX_ADDRESSES:
            self._accepted.clear()
        self._accepted.add(digest)
        return app_id

    def administrator(self, request: Request) -> None:
        """Raises Refused (401, 403, 429) unless the admin key came."""
        key = self._service.config.admin_key
        if not key:
            raise Refused(403, "FORBIDDEN", "the administrator's doors are shut", "Set PUSHSVC_ADMIN_KEY to open them.")
        token = _token(request, "Give the admin key as 'Authorization: Bearer <key>'.")
        if not hmac.compare_digest(token.encode(), key.encode()):
            raise self._wrong(request, "the admin key is wrong", "Give the value of PUSHSVC_ADMIN_KEY.")

    def _look_at(self, request: Request) -> None:
        wait = self._throttle.wait_s(_address(request))
        if wait:
            raise Refused(
                429,
                "THROTTLED",
                "too many wrong tokens came from this address",
                "Wait, and check the token.",
                headers={"Retry-After": str(int(wait) + 1)},
            )

    def _wrong(self, request: Request, cause: str, cure: str) -> Refused:
        self._look_at(request)
        self._throttle.failed(_address(request))
        return Refused(401, "UNAUTHORIZED", cause, cure, headers={"WWW-Authenticate": "Bearer"})


def _token(request: Request, cure: str) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "UNAUTHORIZED", "there is no token", cure, headers={"WWW-Authenticate": "Bearer"})
    return token.strip()


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _calling_app(request: Request, _scheme: Scheme) -> int:
    door: Doorkeeper = request.app.state.door
    return door.app(request)


def _administrator(request: Request, _scheme: Scheme) -> None:
    door: Doorkeeper = request.app.state.door
    door.administrator(request)


CallingApp = Annotated[int, Depends(_calling_app)]
ADMINISTRATOR = Depends(_administrator)
