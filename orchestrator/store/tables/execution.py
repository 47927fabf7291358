"""Tables of what is executed: runs, stage runs, attempts, epochs, events, and who executes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Index, String, event, text
from sqlmodel import Field

from orchestrator.runs.order import Only
from orchestrator.runs.states import AttemptState, EpochState, Outcome, RunState, StageState, StopAs
from orchestrator.store.dialects import Instant, Word, stamp_with_transaction
from orchestrator.store.tables.entity import Entity, one_of, partial_index, table_of

_JSON: Any = JSON(none_as_null=True)


def _word(words: type[StrEnum]) -> Any:
    return Word(words)


class Worker(Entity, table=True):
    """A process that executes: a service, or a command that runs a file. Dead by pid and start time on
    its own host, by its beat on another.

    `start_time` names the process for good: the boot, and the clock tick in it at which the process began.
    `unseen`: running attempts that name this worker and that its last beat did not name.
    """

    __tablename__ = "workers"

    id: int = Field(default=None, primary_key=True)
    host: str
    pid: int
    start_time: str
    kind: str = Field(description="`command` or the name of a service.")
    draining: bool = Field(default=False, description="It was asked to finish what it has, and to go.")
    labels: list[str] = Field(default_factory=list, sa_type=JSON)
    slots: int = 1
    beat: int = 0
    beat_at: datetime = Field(sa_type=Instant)
    unseen: list[int] = Field(default_factory=list, sa_type=JSON)
    started_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class Run(Entity, table=True):
    """A DAG run. Its number counts runs of the whole store in the order of their creation."""

    __tablename__ = "runs"
    __table_args__ = (
        one_of("state", RunState),
        one_of("cancel_cause", ("user", "timeout")),
        one_of("lane", ("live", "backfill")),
        Index("ix_runs_dag_run_id", "dag", "run_id", unique=True),
        partial_index(
            "ix_runs_dag_logical_date",
            "dag",
            "logical_date",
            unique=True,
            where="run_type IN ('scheduled', 'backfill')",
        ),
        partial_index(
            "ix_runs_trigger_key", "dag", "trigger_key", unique=True, where="trigger_key IS NOT NULL"
        ),
        partial_index("ix_runs_open", "state", "dag", where="state IN ('queued', 'running')"),
        partial_index(
            "ix_runs_due",
            "due_at",
            where="due_at IS NOT NULL AND NOT late AND state IN ('queued', 'running')",
        ),
        partial_index("ix_runs_timed", "timeout_at", where="state = 'running' AND timeout_at IS NOT NULL"),
        {"sqlite_autoincrement": True},
    )

    number: int = Field(default=None, primary_key=True)
    uid: str = Field(unique=True)
    dag: int = Field(foreign_key="dags.id", ondelete="CASCADE")
    version: int = Field(foreign_key="dag_versions.id")
    bundle_version: str | None = Field(default=None, description="The tree that it imports from.")
    run_id: str
    trigger_key: str | None = Field(default=None, description="A trigger with the same key is the same run.")
    run_type: str
    lane: str = "live"
    backfill: int | None = Field(default=None, foreign_key="backfills.id", index=True)
    predecessor: int | None = Field(default=None, foreign_key="runs.number", ondelete="SET NULL")
    logical_date: datetime | None = Field(default=None, sa_type=Instant)
    interval_start: datetime | None = Field(default=None, sa_type=Instant)
    interval_end: datetime | None = Field(default=None, sa_type=Instant)
    due_at: datetime | None = Field(
        default=None, sa_type=Instant, description="When its schedule was to fire it."
    )
    late: bool = Field(default=False, description="Nothing of it had started 15 s after it was due.")
    params: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    state: RunState = Field(sa_type=_word(RunState))
    paused: bool = False
    cancel_cause: str | None = None
    held_by: int | None = Field(default=None, foreign_key="workers.id", index=True)
    project: str = ""
    file: str | None = None
    note: str = ""
    created_at: datetime = Field(sa_type=Instant)
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    timeout_at: datetime | None = Field(default=None, sa_type=Instant)


class StageRun(Entity, table=True):
    """One stage of a run, and the only row with scheduling state. Between versions of the DAG it is known by
    its set of nodes; a removed one gives its name up.

    `waiting`: upstreams that have not ended. `tries` and `losses` count failures of user code and lost
    attempts of this start. `base`: the highest epoch when it was last cleared. `abandoning`: the epoch that
    it owes is being given up, and is never applied any more.
    """

    __tablename__ = "stage_runs"
    __table_args__ = (
        one_of("state", StageState),
        one_of("stop_as", StopAs),
        Index("ix_stage_runs_run", "run"),
        partial_index(
            "ix_stage_runs_queued",
            "pool",
            text("lane DESC"),
            text("weight DESC"),
            "run",
            "id",
            where="state = 'queued'",
        ),
        partial_index("ix_stage_runs_open", "run", where="state IN ('none', 'queued', 'running')"),
        partial_index(
            "ix_stage_runs_run_stage", "run", "stage", "map_index", unique=True, where="state != 'removed'"
        ),
    )

    id: int = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="runs.number", ondelete="CASCADE")
    version: int = Field(foreign_key="dag_versions.id")
    stage: str
    nodes: list[str] = Field(sa_type=JSON)
    map_index: int = -1
    state: StageState = Field(sa_type=_word(StageState))
    waiting: int = 0
    tries: int = 0
    losses: int = 0
    base: int = 0
    lane: str = Field(default="live", description="Its run's: the queue is sorted by it.")
    weight: int = 1
    pool: str = "default"
    pool_slots: int = 1
    queue: str | None = None
    stop_as: StopAs | None = Field(default=None, sa_type=_word(StopAs))
    unresolved: bool = False
    abandoning: bool = False
    paused: bool = False
    error: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    result: Any = Field(default=None, nullable=True, sa_type=_JSON)
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class Attempt(Entity, table=True):
    """One try of a stage run: queued, claimed at most once, done. Its id is its fence."""

    __tablename__ = "attempts"
    __table_args__ = (
        one_of("state", AttemptState),
        one_of("outcome", Outcome),
        one_of("only", ("apply", "abandon")),
        CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="done_has_outcome"),
        CheckConstraint("state != 'running' OR worker IS NOT NULL", name="running_has_worker"),
        Index("ix_attempts_stage_run", "stage_run"),
        partial_index("ix_attempts_open", "stage_run", unique=True, where="state != 'done'"),
        partial_index("ix_attempts_owing", "stage_run", where="state = 'queued' AND \"only\" IS NOT NULL"),
        partial_index("ix_attempts_queued", "due_at", where="state = 'queued'"),
        partial_index("ix_attempts_running", "worker", where="state = 'running'"),
        {"sqlite_autoincrement": True},
    )

    id: int = Field(default=None, primary_key=True)
    stage_run: int = Field(foreign_key="stage_runs.id", ondelete="CASCADE")
    state: AttemptState = Field(sa_type=_word(AttemptState))
    outcome: Outcome | None = Field(default=None, sa_type=_word(Outcome))
    only: Only | None = Field(default=None, sa_type=String)
    due_at: datetime = Field(sa_type=Instant)
    worker: int | None = Field(default=None, foreign_key="workers.id")
    runner: int | None = Field(default=None, foreign_key="runners.id")
    error: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    queued_at: datetime = Field(sa_type=Instant)
    claimed_at: datetime | None = Field(default=None, sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class Epoch(Entity, table=True):
    """A decided epoch. `record` is the decision without its tokens, which are read of many epochs at once."""

    __tablename__ = "epochs"
    __table_args__ = (
        one_of("state", EpochState),
        Index("ix_epochs_stage_run_number", "stage_run", "number", unique=True),
    )

    id: int = Field(default=None, primary_key=True)
    stage_run: int = Field(foreign_key="stage_runs.id", ondelete="CASCADE")
    number: int
    attempt: int = Field(foreign_key="attempts.id")
    state: EpochState = Field(sa_type=_word(EpochState))
    final: bool
    record: dict[str, Any] = Field(sa_type=JSON)
    tokens: list[dict[str, Any]] = Field(sa_type=JSON)
    decided_at: datetime = Field(sa_type=Instant)
    applied_at: datetime | None = Field(default=None, sa_type=Instant)


class Event(Entity, table=True):
    """A transition, as the event feed tells it: `kind` names what moved, `old` and `new` its states."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_run", "run"), {"sqlite_autoincrement": True})

    id: int = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=Instant)
    kind: str
    run: int | None = Field(default=None, foreign_key="runs.number", ondelete="CASCADE")
    stage_run: int | None = None
    attempt: int | None = None
    epoch: int | None = Field(default=None, description="Its number in the stage run.")
    old: str | None = None
    new: str
    detail: dict[str, Any] | None = Field(default=None, sa_type=_JSON)


event.listen(table_of(Event), "after_create", stamp_with_transaction)


class Progress(Entity, table=True):
    """The live figures of a running attempt, overwritten; final ones are in its epochs."""

    __tablename__ = "progress"

    attempt: int = Field(primary_key=True, foreign_key="attempts.id", ondelete="CASCADE")
    at: datetime = Field(sa_type=Instant)
    figures: dict[str, Any] = Field(sa_type=JSON)
