"""Run by Alembic: migrates over the connection that `store.migrate` hands it, in its transaction."""

from __future__ import annotations

from alembic import context

from pushsvc.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
