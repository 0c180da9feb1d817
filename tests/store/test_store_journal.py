"""The journal: one row for each event at each device, its newest state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from pushsvc.domain.outcome import Outcome
from pushsvc.domain.record import Record
from pushsvc.store.apps import Apps
from pushsvc.store.database import Database
from pushsvc.store.journal import Journal

RECORD = Record(
    app_id=1,
    event_id="e1",
    recipient="alice",
    token_id=7,
    push_id="00000000-0000-8000-a000-000000000000",
    outcome=Outcome.ACCEPTED,
    response_code=200,
    reason="",
    cause="The provider took the push.",
    cure="Nothing to do.",
    provider="apns",
    authority="api.push.apple.com:443",
    push_type="alert",
    priority="10",
    topic="com.example",
    attempts=1,
    enqueued_at=100.0,
    answered_at=100.25,
)
RETRYING = replace(RECORD, outcome=Outcome.RETRYING, response_code=503, reason="ServiceUnavailable", due_at=130.0)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def test_a_record_is_read_as_it_was_written(journal: Journal) -> None:
    nothing_sent = replace(
        RECORD, event_id="e2", token_id=0, outcome=Outcome.NO_DEVICE, response_code=None, priority="", due_at=None
    )
    journal.record([RECORD, nothing_sent])
    journal.record([])
    assert journal.of_event(1, "e1") == [RECORD]
    assert journal.of_event(1, "e2") == [nothing_sent]
    assert journal.of_event(2, "e1") == []
    assert journal.of_event(1, "e\x00") == []


def test_a_later_attempt_replaces_the_earlier(journal: Journal) -> None:
    last = replace(RECORD, attempts=2, answered_at=131.0)
    journal.record([RETRYING])
    journal.record([last])
    assert journal.of_event(1, "e1") == [last]


def test_the_newest_of_one_batch_holds(journal: Journal) -> None:
    newest = replace(RETRYING, attempts=2, answered_at=131.0)
    journal.record([RETRYING, newest])
    journal.record([newest, RETRYING])
    assert journal.of_event(1, "e1") == [newest]


@pytest.mark.parametrize("late_s", [-1.0, 0.0, 60.0])
def test_a_final_outcome_is_never_replaced_by_one_that_is_not(journal: Journal, late_s: float) -> None:
    journal.record([RECORD])
    journal.record([replace(RETRYING, answered_at=RECORD.answered_at + late_s)])
    assert journal.of_event(1, "e1") == [RECORD]


def test_a_final_outcome_ends_a_retry_even_where_the_clocks_of_two_machines_differ(journal: Journal) -> None:
    journal.record([RETRYING])
    final = replace(RECORD, answered_at=RETRYING.answered_at - 1)
    journal.record([final])
    assert journal.of_event(1, "e1") == [final]


def test_each_device_and_recipient_has_its_own_row(journal: Journal) -> None:
    rows = [RECORD, replace(RECORD, token_id=8), replace(RECORD, recipient="bob"), replace(RECORD, app_id=2)]
    journal.record(rows)
    assert journal.of_event(1, "e1") == [rows[0], rows[1], rows[2]]
    assert journal.of_event(2, "e1") == [rows[3]]


def test_a_batch_is_written_whole_or_not_at_all(journal: Journal) -> None:
    bad = replace(RECORD, event_id="e2", reason=None)  # type: ignore[arg-type]  # what the database refuses
    with pytest.raises(sa.exc.IntegrityError):
        journal.record([RECORD, bad])
    assert journal.of_event(1, "e1") == []


def test_the_newest_come_first_and_may_be_of_one_outcome(journal: Journal) -> None:
    rows = [
        replace(
            RECORD,
            event_id=f"e{n}",
            answered_at=100.0 + n,
            outcome=Outcome.BAD_TOKEN if n % 2 else Outcome.ACCEPTED,
        )
        for n in range(6)
    ]
    journal.record([*rows, replace(RECORD, app_id=2, answered_at=999.0)])
    assert journal.newest(1, 3) == [rows[5], rows[4], rows[3]]
    assert journal.newest(1, 2, Outcome.ACCEPTED) == [rows[4], rows[2]]
    assert journal.newest(3, 3) == []
    assert journal.counts(1, 0) == {Outcome.ACCEPTED: 3, Outcome.BAD_TOKEN: 3}
    assert journal.counts(1, 104.0) == {Outcome.ACCEPTED: 1, Outcome.BAD_TOKEN: 1}


def test_old_records_go_in_chunks_and_the_others_stay(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushsvc.store.journal.PURGE_CHUNK", 10)
    old = [replace(RECORD, app_id=n % 3 + 1, event_id=f"e{n}", answered_at=50.0) for n in range(65)]
    new = [replace(RECORD, app_id=n % 3 + 1, event_id=f"n{n}", answered_at=60.0) for n in range(6)]
    journal.record([*old, *new])
    assert journal.purge(60.0) == 65
    assert [len(journal.newest(app_id, 100)) for app_id in (1, 2, 3)] == [2, 2, 2]
    assert journal.purge(60.0) == 0


def test_a_deleted_app_leaves_no_records(database: Database, journal: Journal, app_id: int) -> None:
    journal.record([replace(RECORD, app_id=app_id), replace(RECORD, app_id=app_id + 1)])
    assert Apps(database).delete(app_id)
    assert journal.newest(app_id, 10) == []
    assert len(journal.newest(app_id + 1, 10)) == 1
