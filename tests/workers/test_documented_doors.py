"""The snippets of docs/events.md, run as printed against a real worker."""

import subprocess
import sys
from pathlib import Path

import pytest
from celery_process import until

from pushsvc import bootstrap
from pushsvc.config import Config
from pushsvc.domain.outcome import Outcome
from pushsvc.store.migrate import migrate

EVENTS = (Path(__file__).parents[2] / "docs/events.md").read_text()
TCP = '"redis://valkey:6379/0"'


def snippet(section: str) -> str:
    return EVENTS.partition(f"\n## {section}")[2].partition("```python\n")[2].partition("```")[0]


@pytest.mark.parametrize(
    ("section", "column", "ids"),
    [("2. Celery", 2, ("m-81723", "m-81724")), ("3. XADD", 1, ("m-81723",))],
    ids=["celery", "xadd"],
)
def test_the_python_of_the_page_brings_an_event_to_the_worker(
    worker, valkey, running_valkey, tmp_path: Path, section: str, column: int, ids: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    environ = {"PUSHSVC_VALKEY_URL": running_valkey.url, "PUSHSVC_DATA": str(data)}
    service = bootstrap.build(Config.from_env(environ))
    migrate(service.database)
    assert service.apps.create("chat")[0].app.id == 1  # the app of the snippets
    one = worker(app="workers.app", **environ)
    row = next(line for line in EVENTS.splitlines() if line.startswith("| of `pushsvc up` |"))
    url = row.split(" | ")[column].strip("`| ").replace("/srv/pushsvc-data/valkey.sock", str(running_valkey.socket))
    program = snippet(section)
    assert program.count(TCP) == 1
    subprocess.run([sys.executable, "-W", "error", "-c", program.replace(TCP, repr(url))], check=True, timeout=60)
    for event_id in ids:
        records = until(lambda event_id=event_id: service.journal.of_event(1, event_id))
        assert [record.outcome for record in records] == [Outcome.NO_DEVICE]
    for noise in ("SecurityWarning", "superuser", "pushsvc.dispatch["):  # what Celery says of itself and its tasks
        assert noise not in one.log
    service.close()
