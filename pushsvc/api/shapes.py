"""How ids look in paths, and values in JSON answers: no secret, no whole token."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import Path

from pushsvc.directory.ports import StoredApp, StoredCredential
from pushsvc.domain.device import Device, DeviceToken, redacted
from pushsvc.domain.record import Record

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]  # what a row's id can be in any store


def app_dict(stored: StoredApp) -> dict[str, Any]:
    return {
        "id": stored.app.id,
        "name": stored.app.name,
        "active": stored.app.active,
        "settings": msgspec.to_builtins(stored.app.settings),
        "created_at": stored.created_at,
    }


def device_dict(device: Device) -> dict[str, Any]:
    return {
        "uid": device.uid,
        "name": device.name,
        "platform": device.platform.value,
        "appid": device.appid,
        "tokens": [token_dict(token) for token in device.tokens],
    }


def token_dict(token: DeviceToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "kind": token.kind.value,
        "token": redacted(token.token),
        "environment": token.environment.value if token.environment else None,
        "registered_at": token.registered_at,
    }


def credential_dict(stored: StoredCredential) -> dict[str, Any]:
    finding = stored.finding
    return {
        "id": stored.id,
        "kind": finding.kind.value,
        "summary": finding.summary,
        "topics": list(finding.topics),
        "environments": sorted(one.value for one in finding.environments),
        "not_before": finding.not_before,
        "not_after": finding.not_after,
        "team_id": finding.team_id,
        "key_id": finding.key_id,
        "project_id": finding.project_id,
        "client_email": finding.client_email,
        "fingerprint": finding.fingerprint,
        "warnings": list(finding.warnings),
        "paused": stored.paused,
        "uploaded_at": stored.uploaded_at,
    }


def record_dict(record: Record) -> dict[str, Any]:
    return {**asdict(record), "outcome": record.outcome.name.lower()}
