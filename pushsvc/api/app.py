"""The HTTP API, put together: create(service) -> FastAPI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool

from pushsvc import __version__, bootstrap
from pushsvc.api import answers, apps, credentials, devices, events, health, records, settings, test_pushes
from pushsvc.api.auth import Doorkeeper
from pushsvc.bootstrap import Service
from pushsvc.config import Config

ABOUT = """\
Offline-user events in, APNs and FCM pushes out.

An app authenticates by `Authorization: Bearer <app token>`, the administrator (`/v1/apps`) by the admin key in the same
header. Every refusal, whatever its status, has one shape: `error` (a word for programs), `code` (the HTTP status),
`cause`, `action` (what to do about it) and `properties` (those at fault). Nothing secret is ever accepted in a URL.
"""


def create(service: Service) -> FastAPI:
    """The API of a service; closing the service stays with the caller."""
    app = FastAPI(
        title="pushsvc",
        version=__version__,
        description=ABOUT,
        docs_url=None,  # its page loads scripts from another host; /openapi.json is what tools read
        redoc_url=None,
        openapi_url="/openapi.json",
        dependencies=[Depends(answers.known_parameters)],
    )
    answers.install(app)
    app.state.door = Doorkeeper(service)
    for part in (events, devices, credentials, settings, test_pushes, records, apps, health):
        app.include_router(part.router(service))
    _document(app)
    return app


def from_env() -> FastAPI:
    """What uvicorn runs: a service of the environment's config, closed when the server stops."""
    service = bootstrap.build(Config.from_env(os.environ))
    app = create(service)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    app.router.lifespan_context = lifespan
    return app


def _document(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(events.schema_components() | settings.schema_components())
            for operations in made["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)  # a bad property is a 400 here
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending it
