"""POST /v1/test-pushes: one push now, with everything that was sent and answered shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pushsvc.api.answers import refusals
from pushsvc.api.auth import CallingApp
from pushsvc.api.devices import User
from pushsvc.bootstrap import Service
from pushsvc.trials import Pasted, test_pushes

EXAMPLE = {
    "pushes": [
        {
            "device": "a1b2c3…99",
            "outcome": "bad_token",
            "code": 911,
            "reason": "BadDeviceToken",
            "cause": "Bad push token.",
            "cure": "The app has to register its new token.",
            "sent": True,
            "request": {
                "method": "POST",
                "url": "https://api.push.apple.com:443/3/device/a1b2c3…99",
                "headers": {"apns-push-type": "alert", "apns-topic": "com.example.chat", "authorization": "…"},
                "body": {"aps": {"alert": {"title": "Bob", "body": "Are you coming?"}}},
            },
            "answer": {"status": 400, "headers": {}, "body": {"reason": "BadDeviceToken"}},
            "took_ms": 41.0,
            "note": "",
        }
    ]
}


class NewTestPush(BaseModel):
    """To all devices of a user, to the one that has a registered token, or to any token."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {"user": "alice", "kind": "message", "message": {"from": "bob", "body": "A test"}, "dry_run": True},
                {"token": "a1" * 32, "platform": "ios", "appid": "com.example.chat", "environment": "sandbox"},
            ]
        },
    )
    user: Annotated[User | None, Field(description="Address or uid.")] = None
    token: Annotated[
        str | None,
        Field(description="A registered token alone; any other with `platform`, `appid`, and `environment` or `voip`."),
    ] = None
    platform: Annotated[str | None, Field(description="ios, android or web: of a token that is not registered.")] = None
    appid: Annotated[str | None, Field(description="Its bundle id, or package name.")] = None
    environment: Annotated[
        str | None,
        Field(description="production or sandbox: of an APNs or PushKit token, for which it has no default."),
    ] = None
    voip: Annotated[bool, Field(description="It is a PushKit token; these look like any APNs token.")] = False
    kind: Annotated[
        Literal["message", "call", "call_cancelled", "silent"] | None,
        Field(description="As in an event: message, and with `voip` call, where it is left out."),
    ] = None
    message: Annotated[dict[str, Any], Field(description="As in an event.")] = {}
    expiry: Annotated[int | None, Field(description="As in an event, seconds.")] = None
    apns: Annotated[dict[str, Any] | None, Field(description="Raw overrides, as in an event.")] = None
    fcm: Annotated[dict[str, Any] | None, Field(description="Raw overrides, as in an event.")] = None
    dry_run: Annotated[
        bool, Field(description="FCM validates without delivering; for APNs all is done short of sending.")
    ] = False


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["test pushes"])

    @routes.post(
        "/v1/test-pushes",
        summary="Send a test push now, and see everything",
        responses={
            200: {
                "description": "One entry for each device. A refusal of the provider is a 200 here: it is the result.",
                "content": {"application/json": {"example": EXAMPLE}},
            },
            **refusals(400, 401, 404, 429, 503),
        },
    )
    def test_push(new: NewTestPush, app_id: CallingApp) -> JSONResponse:
        """Synchronous and outside the stream: not retried, not recorded, no quiet window. Bearers and tokens in
        request and answer are cut out. A token need not be registered; nothing of it is stored."""
        about = {"platform", "appid", "environment", "voip"}
        event = new.model_dump(exclude_none=True, exclude={"dry_run", "token", "user", *about})
        pasted = Pasted(**new.model_dump(include=about))
        done = test_pushes(
            service, app_id, user=new.user, token=new.token, pasted=pasted, event=event, dry_run=new.dry_run
        )
        return JSONResponse({"pushes": [{**asdict(trial), "outcome": trial.word} for trial in done]})

    return routes
