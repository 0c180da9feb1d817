"""The one shape of a refusal: {"error", "code", "cause", "action", "properties"}, whatever went wrong and wherever."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pushsvc.directory.ports import VaultError
from pushsvc.directory.refused import BadValue, NotFound
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.domain.credential import BadCredential
from pushsvc.domain.event import BadEvent
from pushsvc.store.database import StoreUnavailable
from pushsvc.telemetry import without_secrets

RETRY_AFTER_S = 2
LISTED_PROPERTIES = 100

_STATUS = {
    404: ("NOTFOUND", "there is nothing at this path", "See /openapi.json for the paths."),
    405: ("BADMETHOD", "this path does not take this method", "Use a method that the Allow header names."),
}


class RefusedEvent(BaseModel):
    """One event that was not taken."""

    index: int = Field(description="Position in the request, from 0.")
    id: str | None = Field(description="The event's own id, where it could be read.")
    property: str = Field(description="The property at fault, or empty.")
    cause: str
    cure: str


class Refusal(BaseModel):
    """What every 4xx and 5xx answer carries."""

    error: str = Field(description="One word, stable, for programs.", examples=["BADVALUE"])
    code: int = Field(description="The HTTP status.", examples=[400])
    cause: str = Field(examples=["environment is missing"])
    action: str = Field(description="What to do about it.", examples=["Give production or sandbox."])
    properties: list[str] = Field(description="The properties at fault.", examples=[["environment"]])
    refused: list[RefusedEvent] | None = Field(default=None, description="Only at /v1/events: each bad event.")


class Refused(Exception):
    """Ends a request with a refusal."""

    def __init__(
        self,
        code: int,
        error: str,
        cause: str,
        action: str,
        properties: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(cause)
        self.code = code
        self.headers = dict(headers or {})
        self.body = {
            "error": error,
            "code": code,
            "cause": without_secrets(cause),
            "action": action,
            "properties": list(properties)[:LISTED_PROPERTIES],
            **more,
        }

    def answer(self) -> JSONResponse:
        return JSONResponse(self.body, self.code, self.headers)


def unavailable(cause: str, cure: str) -> Refused:
    """Nothing was taken; the same request may be sent again."""
    return Refused(503, "UNAVAILABLE", cause, cure, headers={"Retry-After": str(RETRY_AFTER_S)})


def _refused(error: Exception) -> Refused:
    match error:
        case Refused():
            return error
        case StreamUnavailable() | StoreUnavailable():
            return unavailable(error.cause, error.cure)
        case BadEvent() | BadValue():
            return Refused(400, "BADVALUE", error.cause, error.cure, [error.prop] if error.prop else [])
        case NotFound():
            return Refused(404, "NOTFOUND", error.cause, error.cure, [error.prop])
        case VaultError():
            return unavailable(error.cause, error.cure)
        case BadCredential():
            return Refused(400, "BADCREDENTIAL", error.cause, error.cure, ["file"], response_code=error.code)
        case RequestValidationError():
            problems = error.errors()
            if any(problem["type"] == "model_attributes_type" for problem in problems):
                cure = "Send a JSON object, and the header Content-Type: application/json."
                return Refused(400, "BADVALUE", "the body is no JSON object, or is not announced as JSON", cure)
            names = list(dict.fromkeys(".".join(str(part) for part in p["loc"][1:]) for p in problems))
            cause = "; ".join(
                f"{'.'.join(str(part) for part in p['loc'][1:]) or 'body'}: {p['msg']}" for p in problems[:10]
            )
            return Refused(
                400, "BADVALUE", cause, "See /openapi.json for what this path takes.", [n for n in names if n]
            )
        case HTTPException():
            word, cause, action = _STATUS.get(
                error.status_code, ("BADREQUEST", str(error.detail), "See /openapi.json for what this path takes.")
            )
            return Refused(error.status_code, word, cause, action, headers=error.headers)
        case _:
            return Refused(
                500, "INTERNAL", "a defect of the service", "Try again; the operator finds the traceback in the log."
            )


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    refused = _refused(error)
    if refused.body["error"] == "INTERNAL":
        logging.getLogger("pushsvc.api").error("a request failed", exc_info=error)
    return refused.answer()


def install(app: FastAPI) -> None:
    """Makes every error of the app end in the one shape."""
    known = (Refused, StreamUnavailable, StoreUnavailable, VaultError, BadEvent, BadValue, BadCredential, NotFound)
    for kind in (*known, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)


def known_parameters(request: Request) -> None:
    """Raises Refused where the URL has a parameter that the path does not take: a typo would pass silently."""
    route = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params]
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        cure = f"This path takes {', '.join(known)}." if known else "This path takes none."
        raise Refused(400, "BADVALUE", f"there is no parameter {unknown[0][:64]!r}", cure, [unknown[0][:64]])


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can be refused with these statuses."""
    words = {
        400: "Refused: a property is wrong or missing.",
        401: "The token is missing or unknown.",
        403: "The token may not do this.",
        404: "There is no such thing in this app.",
        409: "It clashes with what is there.",
        413: "The body is too large.",
        429: "Too many failed attempts from this address.",
        503: "Not now: nothing was taken, send it again.",
    }
    return {code: {"model": Refusal, "description": words[code]} for code in codes}
