"""A number per app that moves with every change of its settings or credentials: how workers learn of them."""

from __future__ import annotations

from collections.abc import Sequence

from pushsvc.stream import keys
from pushsvc.stream.valkey import Valkey


class ValkeyVersions:
    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    def versions(self, app_ids: Sequence[int]) -> list[int]:
        """The number of changes of each app since the beginning; one round trip. Raises StreamUnavailable."""
        if not app_ids:
            return []
        return [int(value or 0) for value in self._valkey.call("HMGET", keys.VERSIONS, *app_ids)]

    def bump(self, app_id: int) -> None:
        """Makes every process read the app again. Raises StreamUnavailable."""
        self._valkey.call("HINCRBY", keys.VERSIONS, app_id, 1)
