"""The audit log: who did what with which target."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, insert

from orchestrator.runs.checkpoint import Json


def audit(
    connection: Connection, actor: str, verb: str, target: str, detail: Mapping[str, Json], now: datetime
) -> None:
    """Write who did what: one row a verb."""
    from orchestrator.store.tables import table_of
    from orchestrator.store.tables.services import Audit

    row = {"at": now, "actor": actor, "verb": verb, "target": target, "detail": dict(detail)}
    connection.execute(insert(table_of(Audit)).values(**row))
