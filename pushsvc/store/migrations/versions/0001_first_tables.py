"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_apps"),
        sa.UniqueConstraint("token_hash", name="uq_apps_token_hash"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "users",
        sa.Column("uid", Id, autoincrement=True, nullable=False),
        sa.Column("app_id", Id, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_users"),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE", name="fk_users_app_id"),
        sa.UniqueConstraint("app_id", "address", name="uq_users_app_id_address"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "device_tokens",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("app_id", Id, nullable=False),
        sa.Column("uid", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("appid", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("environment", sa.Text),
        sa.Column("registered_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_device_tokens"),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE", name="fk_device_tokens_app_id"),
        sa.ForeignKeyConstraint(["uid"], ["users.uid"], ondelete="CASCADE", name="fk_device_tokens_uid"),
        sa.UniqueConstraint("app_id", "kind", "token", name="uq_device_tokens_app_id_kind_token"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_device_tokens_uid", "device_tokens", ["uid"])
    op.create_table(
        "credentials",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("app_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("finding", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("paused", sa.Text, nullable=False),
        sa.Column("uploaded_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE", name="fk_credentials_app_id"),
        sa.UniqueConstraint("app_id", "fingerprint", name="uq_credentials_app_id_fingerprint"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "records",
        sa.Column("app_id", Id, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("token_id", Id, nullable=False),
        sa.Column("push_id", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("response_code", sa.Integer),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("cure", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("authority", sa.Text, nullable=False),
        sa.Column("push_type", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("enqueued_at", sa.Double, nullable=False),
        sa.Column("answered_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.PrimaryKeyConstraint("app_id", "event_id", "recipient", "token_id", name="pk_records"),
    )
    op.create_index("ix_records_app_id_answered_at", "records", ["app_id", "answered_at"])
