"""/, /healthz, /readyz, /metrics."""

from __future__ import annotations

import logging
import threading
import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from pushsvc import __version__
from pushsvc.bootstrap import Service
from pushsvc.telemetry import METRICS_TYPE, readiness

LINKS = {
    "description": "/openapi.json",
    "events": "/v1/events",
    "schema": "/v1/events/schema",
    "ready": "/readyz",
    "metrics": "/metrics",
}
FRESH_S = 2.0  # scrapes that come closer together share one look at Valkey


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["health"])
    lock = threading.Lock()
    looked_at = -FRESH_S

    @routes.get("/", summary="What this is, and where to look", response_model=dict[str, str])
    def about() -> JSONResponse:
        return JSONResponse({"service": "pushsvc", "version": __version__, **LINKS})

    @routes.get("/healthz", summary="The process lives", response_model=dict[str, bool])
    def healthz() -> JSONResponse:
        return JSONResponse({"alive": True})

    @routes.get(
        "/readyz",
        summary="Valkey, the store, the workers and the providers are there",
        responses={503: {"description": "One is not; `checks` says which, why and what helps."}},
    )
    def readyz() -> JSONResponse:
        """Events are taken as long as Valkey is there; a missing worker makes it unready, since nothing goes out,
        and so does it when no worker reaches any provider. `providers` has the state of each."""
        status, body = readiness(service.health.look())
        return JSONResponse(body, status)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def metrics() -> Response:
        nonlocal looked_at
        with lock:
            if time.monotonic() - looked_at >= FRESH_S:
                try:
                    service.health.refresh()
                    looked_at = time.monotonic()
                except Exception as error:  # old gauges are better than no metrics
                    logging.getLogger("pushsvc.api").warning("metrics could not be refreshed: %s", error)
        return Response(service.telemetry.exposition(), media_type=METRICS_TYPE)

    return routes
