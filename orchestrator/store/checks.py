"""What `fustgo db check --runs` looks at."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from orchestrator.runs.states import RUN_ENDS, StageState
from orchestrator.store import lifecycle, runs, stage_runs


def check_runs(connection: Connection, now: datetime) -> list[str]:
    """Recount what stages wait for and advance every run that is open, or should be (rule 8.7).

    What was wrong comes back, one line each; nothing where all was right.
    """
    found = []
    numbers = {run.number for run in runs.unended(connection)} | _ended_with_open_stages(connection)
    for number in sorted(numbers):
        run = runs.lock(connection, number)
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


def _ended_with_open_stages(connection: Connection) -> set[int]:
    rows, stages = runs.runs, stage_runs.stage_runs
    is_open = stages.c.state.in_([StageState.NONE, StageState.QUEUED, StageState.RUNNING])
    query = select(stages.c.run).distinct().join_from(stages, rows, stages.c.run == rows.c.number)
    return {*connection.execute(query.where(rows.c.state.in_(list(RUN_ENDS)), is_open)).scalars()}
