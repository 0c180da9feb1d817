"""The SQL store: rows <-> domain values, nothing else. SQLite by default, PostgreSQL by URL, the same code for both."""

from pushsvc.store.database import Database, StoreUnavailable
from pushsvc.store.migrate import migrate

__all__ = ["Database", "StoreUnavailable", "migrate"]
