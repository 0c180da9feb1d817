"""The tables. Times are UNIX seconds; ids are never given twice, since events and marks outlive rows."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER is a row id in SQLite; it holds 64 bits as well

apps = Table(
    "apps",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the app token
    Column("active", Boolean, nullable=False),
    Column("settings", Text, nullable=False),  # JSON of domain.app.Settings
    Column("created_at", Double, nullable=False),
    sqlite_autoincrement=True,
)

users = Table(
    "users",
    metadata,
    Column("uid", Id, primary_key=True, autoincrement=True),
    Column("app_id", Id, ForeignKey(apps.c.id, ondelete="CASCADE"), nullable=False),
    Column("address", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    UniqueConstraint("app_id", "address"),
    sqlite_autoincrement=True,
)

device_tokens = Table(
    "device_tokens",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("app_id", Id, ForeignKey(apps.c.id, ondelete="CASCADE"), nullable=False),
    Column("uid", Id, ForeignKey(users.c.uid, ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # the client's id of the installation, or ""
    Column("platform", Text, nullable=False),
    Column("appid", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("environment", Text),  # null for FCM tokens
    Column("registered_at", Double, nullable=False),
    UniqueConstraint("app_id", "kind", "token"),
    Index(None, "uid"),  # a uid belongs to one app; the cascade of its deletion walks this index too
    sqlite_autoincrement=True,
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("app_id", Id, ForeignKey(apps.c.id, ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("finding", Text, nullable=False),  # JSON of domain.credential.Finding
    Column("fingerprint", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the secret, encrypted by the vault
    Column("paused", Text, nullable=False),
    Column("uploaded_at", Double, nullable=False),
    UniqueConstraint("app_id", "fingerprint"),
    sqlite_autoincrement=True,
)

records = Table(  # no foreign key: an event for an app that is gone has an outcome too
    "records",
    metadata,
    Column("app_id", Id, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("token_id", Id, nullable=False),  # 0 where the user had no device
    Column("push_id", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("response_code", Integer),
    Column("reason", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("cure", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("authority", Text, nullable=False),
    Column("push_type", Text, nullable=False),
    Column("status", Integer),
    Column("priority", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("enqueued_at", Double, nullable=False),
    Column("answered_at", Double, nullable=False),
    Column("due_at", Double),
    PrimaryKeyConstraint("app_id", "event_id", "recipient", "token_id"),
    Index(None, "app_id", "answered_at"),  # the newest of an app, and the oldest for deletion
)
