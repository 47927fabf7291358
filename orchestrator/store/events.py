"""The event feed: every transition, in an order in which none appears before one that was read (rule 13)."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, tuple_

from orchestrator.store.dialects import settled
from orchestrator.store.tables import Event, table_of

events = table_of(Event)


class Cursor(NamedTuple):
    """How far a reader has come: the last event that it has seen."""

    transaction: int = 0
    id: int = 0


def after(connection: Connection, cursor: Cursor, *, limit: int = 1000) -> tuple[list[Event], Cursor]:
    """The next events, and where to go on from. One that is not settled yet is not shown yet."""
    transaction, is_settled = settled(connection, events.c.id)
    query = (
        select(events, transaction.label("transaction"))
        .where(tuple_(transaction, events.c.id) > tuple_(*cursor), is_settled)
        .order_by(transaction, events.c.id)
        .limit(limit)
    )
    found = connection.execute(query).all()
    seen = Cursor(found[-1].transaction, found[-1].id) if found else cursor
    columns = [column.name for column in events.columns]
    return [Event(**{name: row._mapping[name] for name in columns}) for row in found], seen
