"""Devices: where the pushes of a user go."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pushsvc.api.answers import Refused, refusals
from pushsvc.api.auth import CallingApp
from pushsvc.api.shapes import device_dict
from pushsvc.bootstrap import Service

User = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)],
    Field(description="Address (text; the user is made where it is new) or uid (number)."),
]
DEVICE = {
    "uid": 4711,
    "name": "",
    "platform": "ios",
    "appid": "com.example.chat",
    "tokens": [
        {"id": 12, "kind": "apns", "token": "a1b2c3…99", "environment": "production", "registered_at": 1764500000.0}
    ],
}


class NewDevice(BaseModel):
    """A phone or browser of a user, with one to three tokens."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {
                    "user": "alice",
                    "platform": "ios",
                    "appid": "com.example.chat",
                    "environment": "production",
                    "push_token": "a1" * 32,
                    "voip_token": "b2" * 32,
                },
            ]
        },
    )
    user: User
    platform: Annotated[str, Field(description="ios, android or web.")]
    appid: Annotated[str, Field(description="Bundle id, or package name.")]
    push_token: Annotated[str | None, Field(description="APNs device token, hexadecimal, any case.")] = None
    voip_token: Annotated[str | None, Field(description="PushKit token, for calls alone.")] = None
    fcm_token: Annotated[str | None, Field(description="FCM registration token.")] = None
    environment: Annotated[
        str | None, Field(description="production or sandbox: of APNs and PushKit tokens, for which it has no default.")
    ] = None
    name: Annotated[str, Field(description="The client's own id of the installation.")] = ""


class OneToken(BaseModel):
    """A token of a user that is to be forgotten; never in a URL, so in a body."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"user": "alice", "token": "a1" * 32}]},
    )
    user: User
    token: Annotated[str | None, Field(description="One of its tokens; left out: all of them.")] = None


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["devices"])
    shown: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": DEVICE}}}}

    @routes.post("/v1/devices", summary="Register a device", responses=shown | refusals(400, 401, 429, 503))
    def register(device: NewDevice, app_id: CallingApp) -> JSONResponse:
        """Safe to repeat; a token that another user of the app had moves to this one. Answers with its tokens' ids."""
        return JSONResponse(device_dict(service.devices.register(app_id, **device.model_dump())))

    @routes.get(
        "/v1/devices",
        summary="List a user's devices",
        responses={
            200: {"content": {"application/json": {"example": {"devices": [DEVICE]}}}},
            **refusals(400, 401, 429, 503),
        },
    )
    def of_user(
        app_id: CallingApp,
        user: Annotated[str | None, Query(min_length=1, description="The address.")] = None,
        uid: Annotated[int | None, Query(ge=1, description="The uid, instead of the address.")] = None,
    ) -> JSONResponse:
        """By address (`user`) or by uid, which in a URL cannot be told from an address of digits. Tokens are shown
        shortened."""
        found = service.devices.of_user(app_id, _user(user, uid))
        return JSONResponse({"devices": [device_dict(device) for device in found]})

    @routes.delete(
        "/v1/devices",
        summary="Forget a token of a user, or all",
        responses={
            200: {"content": {"application/json": {"example": {"removed": 1}}}},
            **refusals(400, 401, 404, 429, 503),
        },
    )
    def remove(one: OneToken, app_id: CallingApp) -> JSONResponse:
        """The token goes in the body, since URLs end up in logs."""
        return JSONResponse({"removed": service.devices.remove(app_id, one.user, one.token)})

    return routes


def _user(address: str | None, uid: int | None) -> int | str:
    if address is not None and uid is None:
        return address
    if uid is not None and address is None:
        return uid
    raise Refused(400, "BADVALUE", "it takes one of user and uid", "Give one of them.", ["user", "uid"])
