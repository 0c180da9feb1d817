"""The worker as it is run, with the real service behind it and no stand-in."""

import signal
import time
from pathlib import Path

from celery_process import until

from pushsvc import bootstrap
from pushsvc.config import Config
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Outcome
from pushsvc.store.migrate import migrate
from pushsvc.stream import keys


def test_an_event_goes_through_the_real_worker_into_the_journal(worker, valkey, running_valkey, tmp_path: Path):
    environ = {"PUSHSVC_VALKEY_URL": running_valkey.url, "PUSHSVC_DATA": str(tmp_path / "data")}
    (tmp_path / "data").mkdir(mode=0o700)
    service = bootstrap.build(Config.from_env(environ))
    migrate(service.database)
    app = service.apps.create("acme")[0].app
    event = Event(app=app.id, id="e1", user="nobody@example.org", sent_at=time.time())
    one = worker(app="workers.app", **environ)
    assert service.stream.append([event]) == [True]
    records = until(lambda: service.journal.of_event(app.id, "e1"))
    assert [record.outcome for record in records] == [Outcome.NO_DEVICE]
    until(lambda: valkey.call("XLEN", keys.MESSAGES) == 0)
    until(lambda: service.health.look().checks["workers"] == "")
    one.process.send_signal(signal.SIGTERM)
    assert one.wait() == 0
    assert "Traceback" not in one.log
    assert service.health.look().checks["workers"] != ""
    service.close()


def test_a_worker_with_a_wrong_vault_key_ends_with_the_cause(worker, valkey, running_valkey, tmp_path: Path):
    one = worker(app="workers.app", PUSHSVC_DATA=str(tmp_path), PUSHSVC_VAULT_KEYS="main:short")
    assert one.wait() == 78
    assert "config:" in one.log
    assert "Traceback" not in one.log
