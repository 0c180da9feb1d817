"""Credentials of an app: upload, list, delete, resume."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from pushsvc.api.answers import Refused, refusals
from pushsvc.api.auth import CallingApp
from pushsvc.api.body import read_body
from pushsvc.api.shapes import Id, credential_dict
from pushsvc.bootstrap import Service

MAX_BYTES = 1024 * 1024
OPTIONS = {
    "password": "Of a .p12.",
    "team_id": "Of a .p8: 10 characters.",
    "key_id": "Of a .p8: 10 characters; from the name AuthKey_<key id>.p8 when left out.",
    "environment": "Of a .p8 that serves one alone: production or sandbox.",
    "topics": "Of a .p8 that serves these alone, comma separated.",
}
EXAMPLE = {
    "id": 3,
    "kind": "apns_certificate",
    "summary": "APNs certificate for com.example.chat and its VoIP pushes, production and sandbox, until 2026-11-30.",
    "topics": ["com.example.chat", "com.example.chat.voip"],
    "environments": ["production", "sandbox"],
    "not_before": 1764500000.0,
    "not_after": 1796036000.0,
    "team_id": "TEAM123456",
    "key_id": None,
    "project_id": None,
    "client_email": None,
    "fingerprint": "5f0c…",
    "warnings": [],
    "paused": "",
    "uploaded_at": 1764500000.0,
}


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["credentials"])
    made: dict[int | str, dict[str, Any]] = {
        201: {
            "description": "It is in use within 2 seconds in every worker. `warnings` says what may trouble you.",
            "content": {"application/json": {"example": EXAMPLE}},
        }
    }
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "A .p12, a .p8 or a service-account JSON."},
            **{name: {"type": "string", "description": text} for name, text in OPTIONS.items()},
        },
    }

    @routes.post(
        "/v1/credentials",
        status_code=201,
        summary="Upload a credential",
        responses=made | refusals(400, 401, 413, 429, 503),
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}},
    )
    async def upload(request: Request, app_id: CallingApp) -> JSONResponse:
        """The file is inspected, and the answer says what it is. What cannot be used is refused with `response_code`
        903 (expired), 904 (not usable), 905 (production required) or 912 (another app's), cause and cure."""
        name, content, options = await _form(request)
        stored = await run_in_threadpool(service.credentials.upload, app_id, content, name, **options)
        return JSONResponse(credential_dict(stored), 201)

    @routes.get(
        "/v1/credentials",
        summary="List the credentials",
        responses={
            200: {"content": {"application/json": {"example": {"credentials": [EXAMPLE]}}}},
            **refusals(401, 429, 503),
        },
    )
    def of_app(app_id: CallingApp) -> JSONResponse:
        """`paused` says why one is not used for now; it is empty for one that is. Nothing secret is shown."""
        return JSONResponse({"credentials": [credential_dict(one) for one in service.credentials.of(app_id)]})

    @routes.delete(
        "/v1/credentials/{credential_id}",
        status_code=204,
        summary="Delete a credential",
        responses=refusals(400, 401, 404, 429, 503),
    )
    def delete(credential_id: Id, app_id: CallingApp) -> Response:
        service.credentials.delete(app_id, credential_id)
        return Response(status_code=204)

    @routes.post(
        "/v1/credentials/{credential_id}/resume",
        status_code=204,
        summary="Use a paused credential again",
        responses=refusals(400, 401, 404, 429, 503),
    )
    def resume(credential_id: Id, app_id: CallingApp) -> Response:
        service.credentials.resume(app_id, credential_id)
        return Response(status_code=204)

    return routes


async def _form(request: Request) -> tuple[str, bytes, dict[str, str]]:
    """File name, content and options of a multipart upload, read from a body of bounded size, kept in memory only."""
    body = await read_body(request, MAX_BYTES)

    async def parts() -> Any:
        yield body

    how = "Send multipart/form-data, as in: curl -F file=@chat.p12 -F password=…."
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refused(400, "BADVALUE", "the body is no multipart form", how, ["file"])
    parser = MultiPartParser(request.headers, parts(), max_files=1, max_fields=len(OPTIONS))
    parser.spool_max_size = MAX_BYTES  # never to disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Refused(400, "BADVALUE", f"the form cannot be read: {getattr(error, 'message', error)}", how) from None
    try:
        return await _fields(form, how)
    finally:
        await form.close()


async def _fields(form: FormData, how: str) -> tuple[str, bytes, dict[str, str]]:
    unknown = sorted(set(form) - set(OPTIONS) - {"file"})
    if unknown:
        raise Refused(
            400,
            "BADVALUE",
            f"there is no field {unknown[0][:40]}",
            f"The fields are file, {', '.join(OPTIONS)}.",
            unknown,
        )
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refused(400, "BADVALUE", "there is no file in the form", how, ["file"])
    options = {name: value for name, value in form.items() if isinstance(value, str) and value}
    return file.filename or "", await file.read(), options
