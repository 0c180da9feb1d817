"""What the doctor looks at, one part after the other; a part that is away does not stop the others."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping

from pushsvc.cli.finding import CLOCK_SKEW_S, Finding, Level, fail, ok, warn
from pushsvc.cli.handshakes import handshakes
from pushsvc.config import BadConfig, Config
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.health import DAY_S, LATE_S
from pushsvc.store.database import Database, StoreUnavailable
from pushsvc.stream.figures import durability, figures
from pushsvc.stream.valkey import Valkey

SOON_DAYS = 30.0
FREE_BYTES = 1 << 30
FULL_SHARE = 0.8  # of maxmemory
OLD_S = 60.0  # an event that waits longer: the workers do not keep up
OLDEST_VALKEY = (6, 2)


def examine(environ: Mapping[str, str], *, network: bool) -> list[Finding]:
    """Every finding, in the order of the parts."""
    try:
        config = Config.from_env(environ)
    except BadConfig as error:
        return [fail("config", str(error), "Mend the environment; pushsvc config lists all variables.")]
    found = [ok("config", "every variable is known and holds")]
    found += _folder(config)
    valkey, database = Valkey(config.valkey_url), Database(config.database_url)
    try:
        found += _valkey(valkey)
        store = list(_store(config, database))
        found += store
        if not any(one.level is Level.FAIL for one in store):
            found += _apps(config)
    finally:
        valkey.close()
        database.close()
    found += _broker(config)
    found += _sender(config)
    if network:
        found += handshakes(config)
    return found


def _folder(config: Config) -> Iterator[Finding]:
    if not config.data.exists():
        if _needs_folder(config):
            yield fail("data folder", f"{config.data} is not there", "Start pushsvc up once, or set PUSHSVC_DATA.")
        return
    if not config.data.is_dir() or not os.access(config.data, os.W_OK | os.X_OK):
        yield fail("data folder", f"{config.data} cannot be written by this user", "Give it to the user of pushsvc.")
        return
    for path in (config.data, config.data / "vault.key", config.data / "pushsvc.db"):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield warn("data folder", f"other users of this machine may open {path}", f"chmod go= {path}")
    free = shutil.disk_usage(config.data).free
    if free < FREE_BYTES:
        yield warn(
            "data folder", f"{free >> 20} MiB are free on its disk", "Make room: a full disk stops Valkey and store."
        )
    else:
        yield ok("data folder", f"{config.data} can be written, {free >> 30} GiB are free")


def _needs_folder(config: Config) -> bool:
    return str(config.data) in config.valkey_url + config.database_url or not config.vault_keys


def _valkey(valkey: Valkey) -> Iterator[Finding]:
    try:
        server = durability(valkey)
        yield ok("valkey", f"version {server.version} answers")
        if tuple(int(part) for part in server.version.split(".")[:2] if part.isdigit()) < OLDEST_VALKEY:
            yield fail("valkey", f"version {server.version} is too old", "Use Valkey 7.2 or Redis 6.2, or newer.")
        for cause, cure in server.faults:
            yield warn("valkey", cause, cure)
        if not server.faults:
            yield ok("valkey", "keeps what it has answered, and evicts nothing")
        memory = valkey.call("INFO", "memory")
        used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
        if most and used > FULL_SHARE * most:
            yield warn("valkey", f"{used >> 20} of {most >> 20} MiB are used", "Raise maxmemory, or add workers.")
        before = time.time()
        seconds, micros = valkey.call("TIME")
        skew = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
        if abs(skew) > CLOCK_SKEW_S:
            yield warn("clock", f"Valkey's clock and this machine's differ by {skew:+.0f} s", "Run NTP on both.")
        else:
            yield ok("clock", f"{abs(skew) * 1000:.0f} ms from Valkey's")
        yield from _work(valkey)
    except StreamUnavailable as error:
        yield fail("valkey", error.cause, error.cure)


def _work(valkey: Valkey) -> Iterator[Finding]:
    now = figures(valkey)
    if now.workers:
        yield ok("workers", f"{len(now.workers)} alive: {', '.join(now.workers)}")
    else:
        yield fail("workers", f"none reads the stream; {now.waiting} events wait", "Start one: pushsvc worker.")
    if now.oldest_s > OLD_S:
        yield warn(
            "stream", f"the oldest of {now.waiting + now.in_flight} events is {now.oldest_s:.0f} s old", "Add workers."
        )
    else:
        yield ok("stream", f"{now.waiting} events wait, {now.in_flight} are being sent, {now.due} go out later")
    if now.due_late_s > LATE_S:
        yield warn("retries", f"the earliest is {now.due_late_s:.0f} s late", "Start a worker, or add some.")
    if now.dead:
        yield warn("dead letters", f"there are {now.dead}", "pushsvc dead list tells why; retry or drop them.")


def _store(config: Config, database: Database) -> Iterator[Finding]:
    from pushsvc.store.migrate import require_tables

    try:
        has = require_tables(database)
        if database.is_sqlite:
            with database.reading() as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            if mode != "wal":
                yield fail("store", f"SQLite's journal mode is {mode}, so writers block readers", "pushsvc migrate")
        yield ok("store", f"{'SQLite' if database.is_sqlite else 'PostgreSQL'} answers, tables are of version {has}")
    except StoreUnavailable as error:
        yield fail("store", error.cause, error.cure)


def _apps(config: Config) -> Iterator[Finding]:
    """Apps, vault and credentials, through the same use cases as the workers."""
    from pushsvc import bootstrap
    from pushsvc.directory.ports import VaultError

    try:
        service = bootstrap.build(config)
    except VaultError as error:
        yield fail("vault", error.cause, error.cure)
        return
    try:
        now = time.time()
        apps = [stored.app for stored in service.apps.all()]
        if not apps:
            yield warn("apps", "there is none", "pushsvc app add NAME makes one and prints its token.")
        for app in apps:
            credentials = service.credentials.of(app.id)
            if app.active and not credentials:
                cure = f"pushsvc credential upload --app {app.id} FILE"
                yield warn(f"app {app.id}", "has no credential, so its pushes end as 901", cure)
            for one in credentials:
                name = f"credential {one.id}"
                try:
                    service.credentials.opened(one)
                except VaultError as error:
                    yield fail(name, error.cause, error.cure)
                    continue
                if one.paused:
                    cure = f"Mend it, then: pushsvc credential resume --app {app.id} {one.id}"
                    yield warn(name, f"is paused: {one.paused}", cure)
                left = None if one.finding.not_after is None else (one.finding.not_after - now) / DAY_S
                if left is not None and left < 0:
                    yield fail(
                        name,
                        f"expired {-left:.0f} days ago",
                        f"Make a new certificate, then: pushsvc credential upload --app {app.id} FILE",
                    )
                elif left is not None and left < SOON_DAYS:
                    yield warn(
                        name,
                        f"expires in {left:.0f} days",
                        f"Make a new certificate, then: pushsvc credential upload --app {app.id} FILE",
                    )
                else:
                    yield ok(name, f"opens; {one.finding.summary}")
    finally:
        service.close()


def _broker(config: Config) -> Iterator[Finding]:
    if not config.broker_url:
        return
    from celery import Celery
    from kombu.exceptions import OperationalError

    try:
        with Celery(broker=config.broker_url).connection_for_write(connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
    except (OperationalError, OSError) as error:
        yield fail("broker", f"cannot be reached: {error}", "Start it, or mend PUSHSVC_BROKER_URL.")
    else:
        yield ok("broker", "answers")


def _sender(config: Config) -> Iterator[Finding]:
    if config.sender != "curl":
        yield warn("sender", "httpx sends the pushes, at a fraction of libcurl's rate", "Set PUSHSVC_SENDER=curl.")
        return
    try:
        import pycurl
    except ImportError as error:
        yield fail("sender", f"pycurl does not load: {error}", "Install pycurl again, or set PUSHSVC_SENDER=httpx.")
        return
    if pycurl.version_info()[4] & pycurl.VERSION_HTTP2:
        yield ok("sender", f"libcurl {pycurl.version_info()[1]} with HTTP/2")
    else:
        yield fail("sender", "this libcurl has no HTTP/2", "Install the pycurl wheel from PyPI.")
