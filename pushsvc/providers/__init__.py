"""The providers: pure codecs, one folder each."""

from __future__ import annotations

from pushsvc.domain.outcome import Row
from pushsvc.domain.refusals import LOCAL_ROWS
from pushsvc.providers.apns import Apns
from pushsvc.providers.fcm import Fcm
from pushsvc.providers.transport import TLS_ROWS, TRANSPORT_ROWS

PROVIDERS: dict[str, type[Apns] | type[Fcm]] = {Apns.name: Apns, Fcm.name: Fcm}


def outcome_rows() -> tuple[Row, ...]:
    """The whole outcome table, in order: our own refusals, each provider's, TLS and the network."""
    return (*LOCAL_ROWS, *(row for provider in PROVIDERS.values() for row in provider.rows), *TLS_ROWS, *TRANSPORT_ROWS)
