"""The tables. `execution` is imported by every command, `services` only where its tables are used.

`metadata()` is the whole schema: what an empty database is made from, and what a test compares the
migrations with.
"""

from __future__ import annotations

from sqlalchemy import MetaData

from orchestrator.store.tables.definitions import Dag, DagVersion, NodeState, Pool
from orchestrator.store.tables.entity import METADATA, table_of
from orchestrator.store.tables.execution import Attempt, Epoch, Event, Progress, Run, StageRun, Worker

__all__ = [
    "Attempt",
    "Dag",
    "DagVersion",
    "Epoch",
    "Event",
    "NodeState",
    "Pool",
    "Progress",
    "Run",
    "StageRun",
    "Worker",
    "metadata",
    "table_of",
]


def metadata() -> MetaData:
    """The schema with all tables."""
    import orchestrator.store.tables.services  # noqa: F401  # declares its tables

    return METADATA
