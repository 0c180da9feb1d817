"""The process's config: read once from the environment, a table of (name, default, help)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    default: str
    help: str
    secret: bool = False


VARIABLES = (
    Variable(
        "PUSHSVC_DATA", "pushsvc-data", "Folder of the embedded stack: database, Valkey's append-only file, vault key."
    ),
    Variable(
        "PUSHSVC_DATABASE_URL",
        "",
        "Store: sqlite:///file.db or postgresql://…; empty: SQLite in the data folder.",
        True,
    ),
    Variable(
        "PUSHSVC_VALKEY_URL",
        "",
        "Stream: redis://, rediss:// or unix://; empty: the embedded Valkey in the data folder.",
        True,
    ),
    Variable(
        "PUSHSVC_BROKER_URL", "", "Celery's broker for the ordinary tasks; empty: the Valkey of the stream.", True
    ),
    Variable(
        "PUSHSVC_VAULT_KEYS",
        "",
        "Keys that encrypt credentials at rest: name:base64 of 32 bytes, comma separated; the first encrypts, all "
        "decrypt. Empty: the file vault.key in the data folder.",
        True,
    ),
    Variable(
        "PUSHSVC_ADMIN_KEY",
        "",
        "Bearer key of the administrator's doors (POST /v1/apps); empty: those doors are shut.",
        True,
    ),
    Variable("PUSHSVC_LISTEN", "127.0.0.1:8080", "host:port of the HTTP API."),
    Variable(
        "PUSHSVC_METRICS_LISTEN",
        "",
        "host:port on which a worker serves /metrics, /healthz and /readyz; empty: it does not.",
    ),
    Variable("PUSHSVC_SENDER", "curl", "What sends pushes: curl (libcurl, fast) or httpx."),
    Variable(
        "PUSHSVC_APNS_PRODUCTION",
        "api.push.apple.com:443",
        "host:port of the APNs production server; port 2197 works too.",
    ),
    Variable("PUSHSVC_APNS_SANDBOX", "api.sandbox.push.apple.com:443", "host:port of the APNs sandbox server."),
    Variable("PUSHSVC_FCM", "fcm.googleapis.com:443", "host:port of the FCM HTTP v1 server."),
    Variable("PUSHSVC_OAUTH", "oauth2.googleapis.com:443", "host:port of Google's OAuth token server."),
    Variable(
        "PUSHSVC_PROVIDER_CA",
        "",
        "PEM file of an extra certificate authority to trust for providers (a simulator, an inspecting proxy).",
    ),
    Variable("PUSHSVC_PROXY", "", "HTTP proxy for all provider traffic: http://[user:password@]host:port.", True),
    Variable("PUSHSVC_IN_FLIGHT", "1000", "Pushes in flight per worker, at most."),
    Variable("PUSHSVC_CONNECT_TIMEOUT_S", "10", "Seconds to open a connection to a provider."),
    Variable("PUSHSVC_ANSWER_TIMEOUT_S", "30", "Seconds to wait for a provider's answer."),
    Variable(
        "PUSHSVC_DRAIN_S", "25", "Seconds a stopping worker waits for answers; what is left is taken over by others."
    ),
    Variable("PUSHSVC_MARKS_KEPT_S", "86400", "Seconds for which a repeated event id is recognised."),
    Variable("PUSHSVC_RECORDS_KEPT_DAYS", "30", "Days for which outcomes are kept."),
    Variable("PUSHSVC_LOG_LEVEL", "info", "debug, info, warning or error."),
    Variable("PUSHSVC_LOG_FORMAT", "", "json or text; empty: text where standard error is a terminal, else json."),
)


class BadConfig(ValueError):
    """A variable that cannot be used: its name, the cause, the cure."""


@dataclass(frozen=True, slots=True)
class Config:
    """All of a process's config, checked; see VARIABLES for the meaning of each."""

    data: Path
    database_url: str = field(repr=False)
    valkey_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    vault_keys: str = field(repr=False)
    admin_key: str = field(repr=False)
    listen: tuple[str, int]
    metrics_listen: tuple[str, int] | None
    sender: str
    apns_production: str
    apns_sandbox: str
    fcm: str
    oauth: str
    provider_ca: Path | None
    proxy: str = field(repr=False)
    in_flight: int
    connect_timeout_s: float
    answer_timeout_s: float
    drain_s: float
    marks_kept_s: int
    records_kept_days: int
    log_level: str
    log_format: str

    @property
    def embedded_valkey(self) -> bool:
        return self.valkey_url.startswith("unix://") and Path(urlsplit(self.valkey_url).path).parent == self.data

    @property
    def own_database(self) -> bool:
        """Whether the store is the SQLite file of the data folder, which is ours to make."""
        return self.database_url == _own_database_url(self.data)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Reads PUSHSVC_* once; raises BadConfig on an unknown name (with the nearest) or a value that cannot hold."""
        names = [v.name for v in VARIABLES]
        for name in sorted(environ):
            if name.startswith("PUSHSVC_") and name not in names:
                near = difflib.get_close_matches(name, names, n=1, cutoff=0)
                raise BadConfig(
                    f"{name} is not a variable of pushsvc; did you mean {near[0]}? `pushsvc config` lists all."
                )
        get = {v.name: environ.get(v.name, "").strip() or v.default for v in VARIABLES}
        data = Path(get["PUSHSVC_DATA"]).expanduser().absolute()
        valkey_url = get["PUSHSVC_VALKEY_URL"] or f"unix://{data / 'valkey.sock'}"
        database_url = get["PUSHSVC_DATABASE_URL"] or _own_database_url(data)
        _scheme("PUSHSVC_VALKEY_URL", valkey_url, ("redis", "rediss", "valkey", "valkeys", "unix"))
        _scheme("PUSHSVC_DATABASE_URL", database_url, ("sqlite", "postgresql", "postgres"))
        if get["PUSHSVC_PROXY"]:
            _scheme("PUSHSVC_PROXY", get["PUSHSVC_PROXY"], ("http", "https"))
        provider_ca = Path(get["PUSHSVC_PROVIDER_CA"]) if get["PUSHSVC_PROVIDER_CA"] else None
        if provider_ca is not None and not provider_ca.is_file():
            raise BadConfig(f"PUSHSVC_PROVIDER_CA: there is no file {provider_ca}; give the path of a PEM file.")
        return cls(
            data=data,
            database_url=database_url,
            valkey_url=valkey_url,
            broker_url=get["PUSHSVC_BROKER_URL"],
            vault_keys=get["PUSHSVC_VAULT_KEYS"],
            admin_key=get["PUSHSVC_ADMIN_KEY"],
            listen=_listen("PUSHSVC_LISTEN", get["PUSHSVC_LISTEN"]),
            metrics_listen=_listen("PUSHSVC_METRICS_LISTEN", get["PUSHSVC_METRICS_LISTEN"])
            if get["PUSHSVC_METRICS_LISTEN"]
            else None,
            sender=_one_of("PUSHSVC_SENDER", get["PUSHSVC_SENDER"], ("curl", "httpx")),
            apns_production=_authority("PUSHSVC_APNS_PRODUCTION", get["PUSHSVC_APNS_PRODUCTION"]),
            apns_sandbox=_authority("PUSHSVC_APNS_SANDBOX", get["PUSHSVC_APNS_SANDBOX"]),
            fcm=_authority("PUSHSVC_FCM", get["PUSHSVC_FCM"]),
            oauth=_authority("PUSHSVC_OAUTH", get["PUSHSVC_OAUTH"]),
            provider_ca=provider_ca,
            proxy=get["PUSHSVC_PROXY"],
            in_flight=int(_number("PUSHSVC_IN_FLIGHT", get["PUSHSVC_IN_FLIGHT"], 1, 100_000)),
            connect_timeout_s=_number("PUSHSVC_CONNECT_TIMEOUT_S", get["PUSHSVC_CONNECT_TIMEOUT_S"], 0.1, 300),
            answer_timeout_s=_number("PUSHSVC_ANSWER_TIMEOUT_S", get["PUSHSVC_ANSWER_TIMEOUT_S"], 0.1, 300),
            drain_s=_number("PUSHSVC_DRAIN_S", get["PUSHSVC_DRAIN_S"], 0, 3600),
            marks_kept_s=int(_number("PUSHSVC_MARKS_KEPT_S", get["PUSHSVC_MARKS_KEPT_S"], 60, 31_536_000)),
            records_kept_days=int(_number("PUSHSVC_RECORDS_KEPT_DAYS", get["PUSHSVC_RECORDS_KEPT_DAYS"], 1, 3650)),
            log_level=_one_of(
                "PUSHSVC_LOG_LEVEL", get["PUSHSVC_LOG_LEVEL"].lower(), ("debug", "info", "warning", "error")
            ),
            log_format=_one_of("PUSHSVC_LOG_FORMAT", get["PUSHSVC_LOG_FORMAT"], ("json", "text"))
            if get["PUSHSVC_LOG_FORMAT"]
            else "",
        )


def _own_database_url(data: Path) -> str:
    return f"sqlite:///{data / 'pushsvc.db'}"


def _scheme(name: str, url: str, schemes: tuple[str, ...]) -> None:
    scheme = url.partition("://")[0].partition("+")[0]
    if "://" not in url or scheme not in schemes:
        raise BadConfig(f"{name} has to be a URL that starts with {', '.join(s + '://' for s in schemes)}.")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise BadConfig(f"{name}={value!r}: use one of {', '.join(allowed)}.")
    return value


def _number(name: str, value: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise BadConfig(f"{name}={value!r} is not a number; use {low:g} to {high:g}.") from None
    if not low <= number <= high:
        raise BadConfig(f"{name}={value!r} is out of range; use {low:g} to {high:g}.")
    return number


def _listen(name: str, value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise BadConfig(f"{name}={value!r}: use host:port, as in 127.0.0.1:8080 or [::1]:8080.")
    return host.strip("[]"), int(port)


def _authority(name: str, value: str) -> str:
    """host:port; https:// in front is what a URL is copied with, and anything behind cannot be meant."""
    bare = value.removeprefix("https://").removesuffix("/")
    if "/" in bare or "@" in bare:
        raise BadConfig(f"{name}={value!r}: use host:port alone, without a path or another scheme than https://.")
    host, port = _listen(name, bare if ":" in bare else f"{bare}:443")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
