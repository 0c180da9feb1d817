"""A thin client of the control port, for a process that did not start the simulator itself."""

import base64
from types import TracebackType
from typing import Any, Self

import httpx


class ControlError(Exception):
    """The control port refused an operation; the text names the cause."""


class ControlClient:
    """Speaks to a control port at `url`; answers are the JSON objects of control.py's operations."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        return _answer(self._http.get(path, params=query))

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        return _answer(self._http.post(path, json=fields))

    def delete(self, path: str, **query: str | int) -> dict[str, Any]:
        return _answer(self._http.delete(path, params=query))

    def endpoints(self) -> dict[str, Any]:
        return self.get("/endpoints")

    def push_certificate(self, bundle_id: str, **fields: Any) -> tuple[bytes, str]:
        """Issues a push certificate; returns the `.p12` bytes and the serial number."""
        issued = self.post("/certificates", bundle_id=bundle_id, **fields)
        return base64.b64decode(issued["p12"]), str(issued["serial_number"])

    def apns_key(self, **fields: Any) -> dict[str, str]:
        """Issues an auth key: team_id, key_id, p8 (PEM)."""
        return self.post("/keys", **fields)

    def service_account(self, project_id: str, **fields: Any) -> dict[str, str]:
        """Issues a service account and returns the file that the Firebase console would hand out."""
        return self.post("/service-accounts", project_id=project_id, **fields)

    def apns_device(self, environment: str, *topics: str, **fields: Any) -> str:
        """Registers an APNs device and returns its token."""
        return str(self.post("/devices/apns", environment=environment, topics=topics, **fields)["token"])

    def fcm_device(self, project_id: str, package: str, **fields: Any) -> str:
        """Registers an FCM device and returns its token."""
        return str(self.post("/devices/fcm", project_id=project_id, package=package, **fields)["token"])

    def add_fault(self, kind: str, **fields: Any) -> int:
        """Turns a fault on and returns its id."""
        return int(self.post("/faults", kind=kind, **fields)["id"])

    def requests(self, **query: str | int) -> list[dict[str, Any]]:
        return list(self.get("/requests", **query)["requests"])

    def reset(self) -> None:
        self.post("/reset")


def _answer(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    if response.is_error:
        raise ControlError(answer["error"])
    return answer
