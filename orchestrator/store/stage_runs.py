"""Stage runs: the rows of a run's stages, the number they wait for, and starting one over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.runs.advance import waiting_of
from orchestrator.runs.states import StageState
from orchestrator.store import epochs
from orchestrator.store.recordsets import insert_rows
from orchestrator.store.sets import within
from orchestrator.store.tables import Run, StageRun, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.transitions import Moves, move_stage

stage_runs = table_of(StageRun)
_COUNT = update(stage_runs).where(within(stage_runs.c.id, "ids")).values(waiting=bindparam("number"))


def get(connection: Connection, stage_run: int) -> StageRun:
    """A stage run by its row's id."""
    return value(StageRun, connection.execute(select(stage_runs).where(stage_runs.c.id == stage_run)).one())


def named(connection: Connection, run: int, stage: str) -> StageRun:
    """The stage run of this stage of a run that no version has removed."""
    query = select(stage_runs).where(stage_runs.c.run == run, stage_runs.c.stage == stage)
    return value(StageRun, connection.execute(query.where(stage_runs.c.state != StageState.REMOVED)).one())


def all_of_run(connection: Connection, run: int) -> list[StageRun]:
    """Every stage run of a run, in the order of their creation."""
    rows = connection.execute(select(stage_runs).where(stage_runs.c.run == run).order_by(stage_runs.c.id))
    return [value(StageRun, row) for row in rows]


def of_run(connection: Connection, run: int) -> dict[str, StageRun]:
    """The stage runs of a run by stage; those that a version removed are left out, as in every rule."""
    rows = all_of_run(connection, run)
    return {row.stage: row for row in rows if row.state != StageState.REMOVED}


class Outline(NamedTuple):
    """As much of a stage run as advancing needs: a whole run's are read at each end of a stage."""

    id: int
    stage: str
    state: StageState
    waiting: int
    started_at: datetime | None


def outline(connection: Connection, run: int) -> dict[str, Outline]:
    """The stage runs of a run by stage, removed ones left out."""
    columns = [stage_runs.c[name] for name in Outline._fields]
    live = stage_runs.c.state != StageState.REMOVED
    rows = connection.execute(select(*columns).where(stage_runs.c.run == run, live).order_by(stage_runs.c.id))
    return {row.stage: Outline(*row) for row in rows}


def states(rows: Mapping[str, Outline]) -> dict[str, StageState]:
    """The state of each stage."""
    return {stage: row.state for stage, row in rows.items()}


def add(
    connection: Connection,
    run: int,
    version: int,
    stages: Iterable[Stage],
    *,
    lane: str,
    base: Callable[[Stage], int] = lambda _: 0,
) -> None:
    """Insert stage runs in `none`, waiting for all their upstreams, in the lane of their run.

    `base` says from which epoch a stage counts: above 0 where its nodes were another stage's before.
    """
    fresh = {"run": run, "version": version, "lane": lane, "state": StageState.NONE}
    rows = [{**settings(stage), **fresh, "waiting": len(stage.up), "base": base(stage)} for stage in stages]
    if rows:
        insert_rows(connection, stage_runs, [{**_DEFAULTS, **row} for row in rows])


def settings(stage: Stage) -> dict[str, Any]:
    """What a stage run keeps of its stage."""
    return {
        "stage": stage.id,
        "nodes": list(stage.nodes),
        "weight": stage.weight,
        "pool": stage.pool,
        "pool_slots": stage.pool_slots,
        "queue": stage.queue,
    }


_DEFAULTS = {
    name: StageRun.model_fields[name].default
    for name in ("map_index", "tries", "losses", "unresolved", "abandoning", "paused")
}


def change(connection: Connection, stage_run: int, **values: Any) -> None:
    """Set columns that are no state."""
    connection.execute(update(stage_runs).where(stage_runs.c.id == stage_run).values(**values))


def recount(connection: Connection, graph: StageGraph, rows: Mapping[str, Outline]) -> list[str]:
    """Set every `waiting` to what the states say; the stages in which it was wrong."""
    wrong = miscounted(graph, rows, states(rows))
    count_again(connection, rows, wrong)
    return [*wrong]


def miscounted(
    graph: StageGraph, rows: Mapping[str, Outline], known: Mapping[str, StageState]
) -> dict[str, int]:
    """What each stage waits for whose `waiting` says another number, by these states."""
    counted = {stage: waiting_of(graph, known, stage) for stage in rows if stage in graph.stages}
    return {stage: number for stage, number in counted.items() if number != rows[stage].waiting}


def count_again(connection: Connection, rows: Mapping[str, Outline], numbers: Mapping[str, int]) -> None:
    """Set `waiting` of these stages."""
    by_number: dict[int, list[int]] = {}
    for stage, number in numbers.items():
        by_number.setdefault(number, []).append(rows[stage].id)
    for number, ids in by_number.items():
        connection.execute(_COUNT, {"ids": ids, "number": number})


def start_over(connection: Connection, row: StageRun, now: datetime, base: int = 0) -> None:
    """Clear one stage run (rule 7.1): its base rises, at least to `base`; positions and states go.

    It runs the version that its run has now, also where it had run an earlier one.
    """
    runs = table_of(Run)
    version = connection.execute(select(runs.c.version).where(runs.c.number == row.run)).scalar_one()
    fresh = _fresh(version, max(base, row.base, epochs.highest(connection, row.id)))
    if row.state == StageState.NONE:
        change(connection, row.id, **fresh)
    else:
        move_stage(connection, row.run, row.id, row.state, StageState.NONE, now=now, **fresh)


def start_all_over(connection: Connection, run: Run, rows: Iterable[StageRun], moves: Moves) -> None:
    """Clear stage runs of a run, as some of these moves; see `start_over`."""
    highest = epochs.highest_of(connection, run.number)
    for row in rows:
        fresh = _fresh(run.version, max(row.base, highest.get(row.id, 0)))
        if row.state != StageState.NONE:
            moves.stage(run.number, row.id, row.state, StageState.NONE, **fresh)
        elif any(getattr(row, name) != value for name, value in fresh.items()):
            change(connection, row.id, **fresh)


def _fresh(version: int, base: int) -> dict[str, Any]:
    """What a stage run is when it starts over."""
    return {
        "version": version,
        "base": base,
        "tries": 0,
        "losses": 0,
        "stop_as": None,
        "error": None,
        "result": None,
        "started_at": None,
        "ended_at": None,
    }
