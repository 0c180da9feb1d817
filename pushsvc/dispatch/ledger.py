"""What has been settled and not yet written: kept until every store has it, written some hundred at a time."""

from __future__ import annotations

from collections.abc import Callable

from pushsvc.dispatch.ports import Changes, Credentials, Devices, Due, Entry, Journal, Stream, Telemetry
from pushsvc.domain.credential import Credential
from pushsvc.domain.device import DeviceToken, Environment
from pushsvc.domain.event import Event
from pushsvc.domain.record import Record


class Ledger:
    """Takes notes in memory; `write` brings them to the stores in an order that loses nothing when it is cut short.

    First what was learnt, then the journal, then marks, due set and acknowledgements in one atomic step; every part may
    be repeated without harm.
    """

    def __init__(
        self, stream: Stream, journal: Journal, devices: Devices, credentials: Credentials, telemetry: Telemetry
    ) -> None:
        self._stream = stream
        self._journal = journal
        self._devices = devices
        self._credentials = credentials
        self._telemetry = telemetry
        self._learnt: list[Callable[[], object]] = []
        self._records: list[Record] = []
        self._changes = Changes()

    def __len__(self) -> int:
        return len(self._learnt) + len(self._records) + len(self._changes.done)

    def ended(self, event: Event, record: Record) -> None:
        """The push of this record has come to its end."""
        self._note(record)
        if record.token_id:
            self._changes.marks.append((event, record.token_id))

    def later(self, record: Record, due: Due) -> None:
        """The push goes out (again) when it is due."""
        self._note(record)
        self._changes.due.append(due)

    def done(self, entry: Entry) -> None:
        """All of the entry's pushes have ended or are due later: it can be acknowledged."""
        self._changes.done.append(entry)

    def bury(self, entry: Entry, reason: str) -> None:
        """The entry cannot be brought to an end: it goes to the dead letters."""
        self._learnt.append(lambda: self._stream.bury(entry, reason))

    def drop_token(self, app_id: int, token: DeviceToken, unregistered_at: float | None) -> None:
        self._learnt.append(lambda: self._devices.drop(app_id, token, unregistered_at))

    def remember_environment(self, app_id: int, token: DeviceToken, environment: Environment) -> None:
        self._learnt.append(lambda: self._devices.remember_environment(app_id, token, environment))

    def pause(self, credential: Credential, reason: str) -> None:
        self._learnt.append(lambda: self._credentials.pause(credential.id, credential.finding.fingerprint, reason))

    def write(self) -> None:
        """Raises StoreUnavailable or StreamUnavailable with everything still noted; call again."""
        while self._learnt:
            self._learnt[0]()
            del self._learnt[0]
        if self._records:
            self._journal.record(self._records)
        changes, self._changes = self._changes, Changes()
        try:
            if changes:
                self._stream.apply(changes)
        except BaseException:
            self._changes = changes
            raise
        self._records = []

    def _note(self, record: Record) -> None:
        self._records.append(record)
        self._telemetry.settled(record)
