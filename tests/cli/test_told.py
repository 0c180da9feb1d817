"""What the commands tell the person who typed them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_the_list_of_credentials_tells_one_that_cannot_be_opened_and_an_app_that_is_not_there(
    run: Run, app_id: str, p8: Path, environ: dict[str, str]
) -> None:
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    assert "in use" in run("credential", "list", "--app", app_id)
    environ["PUSHSVC_VAULT_KEYS"] = "other:" + "A" * 43 + "="
    (one,) = run("credential", "list", "--app", app_id, "--json")
    assert "is not among the vault's keys" in one["locked"]
    assert "cannot be opened" in run("credential", "list", "--app", app_id)
    assert "error: app: there is no app 77" in run("credential", "list", "--app", "77", code=1)
