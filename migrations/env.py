"""Alembic's environment: runs inside the transaction of the caller, who passes its connection."""

from __future__ import annotations

from alembic import context

from orchestrator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata(),
    render_as_batch=True,  # SQLite changes a table by copying it
)
context.run_migrations()
