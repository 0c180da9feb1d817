"""Apps, for the administrator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from pushsvc.api.answers import refusals
from pushsvc.api.auth import ADMINISTRATOR
from pushsvc.api.shapes import Id, app_dict
from pushsvc.bootstrap import Service

APP = {
    "id": 1,
    "name": "chat",
    "active": True,
    "settings": {"push": True, "background": True},
    "created_at": 1764500000.0,
}


class NewApp(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "chat"}]})
    name: Annotated[str, Field(min_length=1, max_length=128)]


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["apps"], dependencies=[ADMINISTRATOR])
    made = {"id": 1, "name": "chat", "token": "…"}
    answers: dict[int | str, dict[str, Any]] = {201: {"content": {"application/json": {"example": made}}}}

    @routes.post(
        "/v1/apps", status_code=201, summary="Make an app", responses=answers | refusals(400, 401, 403, 429, 503)
    )
    def add(new: NewApp) -> JSONResponse:
        """`token` is the app token: shown this once, stored as its hash."""
        stored, token = service.apps.create(new.name)
        return JSONResponse({**app_dict(stored), "token": token}, 201)

    @routes.get(
        "/v1/apps",
        summary="List the apps",
        responses={
            200: {"content": {"application/json": {"example": {"apps": [APP]}}}},
            **refusals(401, 403, 429, 503),
        },
    )
    def all_apps() -> JSONResponse:
        return JSONResponse({"apps": [app_dict(stored) for stored in service.apps.all()]})

    @routes.delete(
        "/v1/apps/{app_id}", status_code=204, summary="Delete an app", responses=refusals(400, 401, 403, 404, 429, 503)
    )
    def delete(app_id: Id) -> Response:
        """With its users, devices, credentials and records."""
        service.apps.delete(app_id)
        return Response(status_code=204)

    return routes
