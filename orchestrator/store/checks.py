"""What `fustgo db check` looks at."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from orchestrator.runs.states import RUN_ENDS, StageState
from orchestrator.store import HEAD, lifecycle, migrate, runs, stage_runs
from orchestrator.store.database import Database
from orchestrator.store.tables import Run

_PROBES = 20


@dataclass(frozen=True)
class Health:
    """The state of the database file. `fsync`: seconds, a median; `damage`: what SQLite finds."""

    library: str
    has_defect: bool
    journal: str
    synchronous: str
    revision: str | None
    fsync: float
    damage: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.damage and self.revision == HEAD and self.synchronous == "FULL"


def check_database(database: Database) -> Health:
    """Look at the database and measure its disk; changes nothing."""
    with database.read() as connection:
        revision = migrate.revision_of(connection)
        said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
        orphans = [f"{row[0]} row {row[1]} names a missing row of {row[2]}" for row in _orphans(connection)]
    return Health(
        library=database.library,
        has_defect=database.has_defect,
        journal=str(database.pragma("journal_mode")),
        synchronous=("OFF", "NORMAL", "FULL", "EXTRA")[int(database.pragma("synchronous"))],
        revision=revision,
        fsync=fsync_time(database.path.parent),
        damage=tuple([line for line in said if line != "ok"] + orphans),
    )


def fsync_time(folder: Path) -> float:
    """Seconds that this folder's disk takes to make a small write durable: the median of twenty."""
    path = folder / f".fsync-{os.getpid()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return statistics.median(_one_fsync(file, index) for index in range(_PROBES))
    finally:
        os.close(file)
        path.unlink()


def check_runs(connection: Connection, now: datetime) -> list[str]:
    """Recount what stages wait for and advance every run that is open, or should be (rule 8.7).

    What was wrong comes back, one line each; nothing where all was right.
    """
    found = []
    for run in [*runs.unended(connection), *_ended_with_open_stages(connection)]:
        before = _standing(connection, run.number)
        wrong = lifecycle.settle(connection, run, now)
        found += [f"run {run.number}: {stage} waited for a wrong number of stages" for stage in wrong]
        after = _standing(connection, run.number)
        found += [
            f"run {run.number}: {name} was {before.get(name)}, is {state}"
            for name, state in after.items()
            if before.get(name) != state
        ]
    return found


def _standing(connection: Connection, number: int) -> dict[str, str]:
    """The states of a run's stages and of the run itself, by what they are called."""
    rows = stage_runs.outline(connection, number)
    states = {f"stage {stage}": str(row.state) for stage, row in rows.items()}
    return {"the run": str(runs.get(connection, number).state), **states}


def _ended_with_open_stages(connection: Connection) -> list[Run]:
    rows, stages = runs.runs, stage_runs.stage_runs
    is_open = stages.c.state.in_([StageState.NONE, StageState.QUEUED, StageState.RUNNING])
    query = select(stages.c.run).distinct().join_from(stages, rows, stages.c.run == rows.c.number)
    numbers = connection.execute(query.where(rows.c.state.in_(list(RUN_ENDS)), is_open)).scalars()
    return [runs.get(connection, number) for number in sorted(numbers)]


def _orphans(connection: Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")]


def _one_fsync(file: int, index: int) -> float:
    os.pwrite(file, index.to_bytes(8, "big"), 0)
    began = time.perf_counter()
    os.fsync(file)
    return time.perf_counter() - began
