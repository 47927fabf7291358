"""Tables that only services, pages and administration use."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field

from orchestrator.store.dialects import Instant
from orchestrator.store.tables.entity import Entity


class Runner(Entity, table=True):
    """A worker's child that runs attempts; written when it is forked, before it gets an order."""

    __tablename__ = "runners"

    id: int = Field(default=None, primary_key=True)
    worker: int = Field(foreign_key="workers.id", index=True)
    pid: int
    start_time: str
    bundle_version: str | None = None
    started_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class Bundle(Entity, table=True):
    """Where DAG files come from, as it was last loaded. One scheduler at a time loads it: `loader`.

    `error`: why its newest state could not be read; what was loaded before stays.
    """

    __tablename__ = "bundles"

    name: str = Field(primary_key=True)
    source: str = Field(description="The folder, or the repository and its ref, as people are shown it.")
    version: str | None = None
    loader: int | None = Field(default=None, foreign_key="workers.id", ondelete="SET NULL")
    loaded_at: datetime | None = Field(default=None, sa_type=Instant)
    error: str | None = None


class LoadError(Entity, table=True):
    """A DAG file of a bundle that could not be loaded, and why; gone when it can be."""

    __tablename__ = "load_errors"

    bundle: str = Field(primary_key=True, foreign_key="bundles.name", ondelete="CASCADE")
    file: str = Field(primary_key=True)
    bundle_version: str
    message: str
    at: datetime = Field(sa_type=Instant)


class ArtifactStore(Entity, table=True):
    """The folder of the artifact store, known by the token that lies in it; one row."""

    __tablename__ = "artifact_store"

    id: int = Field(primary_key=True)
    token: str


class Schedule(Entity, table=True):
    """When a DAG fires next. Firing is a compare-and-set on `next_fire_at`.

    `timetable` is the schedule's document, None where the DAG has lost its schedule: the row stays, for what
    fired last. `params`: those of its runs. `late_fire_at`: the tick that was last told to be late.
    """

    __tablename__ = "schedules"

    dag: int = Field(primary_key=True, foreign_key="dags.id", ondelete="CASCADE")
    timetable: Any = Field(default=None, nullable=True, sa_type=JSON(none_as_null=True))
    timezone: str = "UTC"
    start_date: datetime | None = Field(default=None, sa_type=Instant)
    end_date: datetime | None = Field(default=None, sa_type=Instant)
    catchup: bool = False
    params: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    next_fire_at: datetime | None = Field(default=None, sa_type=Instant, index=True)
    last_fire_at: datetime | None = Field(default=None, sa_type=Instant)
    late_fire_at: datetime | None = Field(default=None, sa_type=Instant)


class Backfill(Entity, table=True):
    """Runs of a DAG for past logical dates, `first` to `last`, some at a time."""

    __tablename__ = "backfills"

    id: int = Field(default=None, primary_key=True)
    dag: int = Field(foreign_key="dags.id", ondelete="CASCADE", index=True)
    first: datetime = Field(sa_type=Instant)
    last: datetime = Field(sa_type=Instant)
    max_active_runs: int = 10
    reprocess: str | None = None
    params: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    paused: bool = False
    created_by: str = ""
    created_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class Variable(Entity, table=True):
    """A named JSON value that templates read as `var.NAME`."""

    __tablename__ = "variables"

    key: str = Field(primary_key=True)
    value: Any = Field(sa_type=JSON)
    description: str = ""
    changed_at: datetime = Field(sa_type=Instant)


class Connection(Entity, table=True):
    """Where a system is and how to enter it: `public` may be shown, `encrypted` goes to workers only."""

    __tablename__ = "connections"

    id: str = Field(primary_key=True)
    type: str
    public: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    encrypted: bytes | None = None
    description: str = ""
    changed_at: datetime = Field(sa_type=Instant)


class Audit(Entity, table=True):
    """Who did what with which target: one row a verb."""

    __tablename__ = "audit"

    id: int = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=Instant, index=True)
    actor: str
    verb: str
    target: str
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
