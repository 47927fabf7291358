"""The facts from which `runs.why` says what keeps a run and its stages. Reads only, as of one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from orchestrator.dag.stages import StageGraph
from orchestrator.errors import UsageError
from orchestrator.runs import facts, why
from orchestrator.runs.states import STAGE_ENDS, AttemptState, Outcome, RunState, StageState
from orchestrator.store import dags, pools, workers
from orchestrator.store.tables import Attempt, Dag, Run, StageRun, Worker, table_of
from orchestrator.store.writers import LEASE

attempts, runs = table_of(Attempt), table_of(Run)
stages, dag_rows = table_of(StageRun), table_of(Dag)
_COLUMNS = (
    *("id", "run", "stage", "nodes", "state", "paused", "unresolved", "abandoning", "stop_as"),
    *("queue", "pool", "pool_slots", "tries"),
)


def why_waits(
    connection: Connection, run: Run, node: str | None, *, now: datetime, lease: float = LEASE
) -> list[why.Reason]:
    """Why a run, or the stage of one node of it, waits; empty where nothing does.

    A worker that was silent for `lease` seconds counts as offline. Raises UsageError where the run has no
    such node.
    """
    return why.reasons(read_facts(connection, run, node, now=now, lease=lease))


def read_facts(
    connection: Connection, run: Run, node: str | None, *, now: datetime, lease: float = LEASE
) -> facts.Facts:
    """What `runs.why` judges of a run; of all its stages, or that of one node."""
    dag = dags.get_dag(connection, run.dag)
    graph = dags.graph_of(connection, run.version)
    listed = workers.list_workers(connection, ended=True)
    known = {one.worker.id: _worker(one, now, lease) for one in listed}
    taken = _taken(connection, known)
    sizes = pools.slots(connection)
    of_dag = [one for one, owner in taken if owner == run.dag]
    rows = _rows(connection, run)
    wanted = _wanted(graph, rows, run, node)
    labels = {label for one in known.values() if one.standing == "online" for label in one.labels}
    due = _due(connection, run, now, sizes, _full_dags(connection, taken), labels)
    queued = _queued(connection, run, due)
    running = {one.stage: one for one, _ in taken if one.run == run.number}
    return facts.Facts(
        now=now,
        run=_run(connection, run, dag, known),
        stages=tuple(_stage(graph, rows, stage, queued, running.get(stage)) for stage in wanted),
        workers=tuple(worker for worker in known.values() if worker.standing != "ended"),
        pools=sizes,
        taken=tuple(one for one, _ in taken),
        of_dag=tuple(of_dag),
        most_of_dag=dag.max_active_tasks,
        due=due,
    )


def _rows(connection: Connection, run: Run) -> dict[str, Row[Any]]:
    """The stage runs by stage, removed ones left out; of thousands, as they come from the database."""
    query = select(*(stages.c[name] for name in _COLUMNS)).where(stages.c.run == run.number)
    rows = connection.execute(query.where(stages.c.state != StageState.REMOVED).order_by(stages.c.id))
    return {row.stage: row for row in rows}


def _wanted(graph: StageGraph, rows: Mapping[str, Row[Any]], run: Run, node: str | None) -> list[str]:
    """The stages that are asked about, each after those before it."""
    if node is None:
        return [stage.id for stage in graph if stage.id in rows]
    for row in rows.values():
        if node == row.stage or node in row.nodes:
            return [row.stage]
    named = ", ".join(sorted(name for row in rows.values() for name in row.nodes))
    raise UsageError(f"run {run.number} has no node {node!r}", hint=f"its nodes: {named}")


def _worker(listed: workers.Listed, now: datetime, lease: float) -> facts.Worker:
    row: Worker = listed.worker
    return facts.Worker(
        id=row.id,
        kind=row.kind,
        host=row.host,
        pid=row.pid,
        labels=tuple(row.labels),
        slots=row.slots,
        running=listed.running,
        standing=_standing(row, now, lease),
    )


def _standing(worker: Worker, now: datetime, lease: float) -> str:
    """A command is dead when its process is; it does not beat while it executes."""
    if worker.kind != "command":
        return workers.shown_as(worker, now, lease)
    return "ended" if workers.life(worker) == workers.Life.DEAD else "online"


def _run(connection: Connection, run: Run, dag: Dag, known: Mapping[int, facts.Worker]) -> facts.Run:
    places, active, before = _places(connection, run, dag)
    schedulers = (one for one in known.values() if one.kind == "scheduler" and one.standing == "online")
    return facts.Run(
        number=run.number,
        dag=dags.shown_as(dag),
        state=run.state,
        paused=run.paused,
        cancel_cause=run.cancel_cause,
        lane=run.lane,
        due=run.due_at,
        late=run.late,
        holder=known.get(run.held_by) if run.held_by is not None else None,
        file=run.file or "FILE",
        places=places,
        active=active,
        before=before,
        schedulers=tuple(schedulers),
    )


def _places(connection: Connection, run: Run, dag: Dag) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """How many runs may be active beside this one (rule 8.13), which are, and which are queued before it."""
    if run.backfill is not None:
        from orchestrator.store.tables.services import Backfill

        table = table_of(Backfill)
        limits = select(table.c.max_active_runs, table.c.paused).where(table.c.id == run.backfill)
        row = connection.execute(limits).one()
        places, mine = 0 if row.paused else row.max_active_runs, runs.c.backfill == run.backfill
    else:
        places, mine = dag.max_active_runs, runs.c.backfill.is_(None)
    query = select(runs.c.number, runs.c.state).where(
        runs.c.dag == run.dag, runs.c.held_by.is_(None), mine, runs.c.state.in_(["queued", "running"])
    )
    found = connection.execute(query.order_by(runs.c.number)).all()
    active = tuple(row.number for row in found if row.state == RunState.RUNNING)
    before = (row.number for row in found if row.state == RunState.QUEUED and row.number < run.number)
    return places, active, tuple(before)


def _stage(
    graph: StageGraph,
    rows: Mapping[str, Row[Any]],
    stage: str,
    queued: Mapping[int, facts.Queued],
    running: facts.Taken | None,
) -> facts.Stage:
    row = rows[stage]
    compiled = graph.stages.get(stage)
    return facts.Stage(
        id=stage,
        state=row.state,
        paused=row.paused,
        unresolved=row.unresolved,
        abandoning=row.abandoning,
        stop_as=row.stop_as,
        open_upstreams=_open(rows, compiled.up if compiled else ()),
        open_branches=_open(rows, graph.branches.forbidden_by(stage)),
        label=row.queue,
        pool=row.pool,
        slots=row.pool_slots,
        tries=row.tries,
        retries=compiled.retries if compiled else 0,
        queued=queued.get(row.id),
        running=running,
    )


def _open(rows: Mapping[str, Row[Any]], named: Iterable[str]) -> dict[str, StageState]:
    return {name: rows[name].state for name in named if name in rows and rows[name].state not in STAGE_ENDS}


def _taken(connection: Connection, known: Mapping[int, facts.Worker]) -> list[tuple[facts.Taken, int]]:
    """The running attempts of all runs, oldest first, each with its DAG."""
    query = _joined(attempts.c.worker).where(attempts.c.state == AttemptState.RUNNING)
    rows = connection.execute(query.order_by(attempts.c.id))
    return [(_as_taken(row, known.get(row.worker)), row.dag) for row in rows]


def _as_taken(row: Row[Any], worker: facts.Worker | None = None) -> facts.Taken:
    return facts.Taken(row.id, row.run, row.stage, row.pool_slots, row.pool, row.lane, worker)


def _full_dags(connection: Connection, taken: Iterable[tuple[facts.Taken, int]]) -> set[int]:
    """DAGs that run as many stages as they may."""
    counts: dict[int, int] = {}
    for _, dag in taken:
        counts[dag] = counts.get(dag, 0) + 1
    limits = select(dag_rows.c.id, dag_rows.c.max_active_tasks).where(dag_rows.c.id.in_(counts))
    return {row.id for row in connection.execute(limits) if counts[row.id] >= row.max_active_tasks}


def _queued(connection: Connection, run: Run, due: Iterable[facts.Taken]) -> dict[int, facts.Queued]:
    """The queued attempts of a run by stage run."""
    places = {one.attempt: place for place, one in enumerate(due)}
    columns = (attempts.c[name] for name in ("id", "stage_run", "state", "outcome", "only", "due_at"))
    query = (
        select(*columns)
        .join_from(attempts, stages, attempts.c.stage_run == stages.c.id)
        .where(stages.c.run == run.number)
        .order_by(attempts.c.id)
    )
    before: dict[int, Outcome | None] = {}
    queued: dict[int, facts.Queued] = {}
    for row in connection.execute(query):
        if row.state == AttemptState.QUEUED:
            last, place = before.get(row.stage_run), places.get(row.id, 0)
            queued[row.stage_run] = facts.Queued(row.id, row.due_at, row.only, last, place)
        before[row.stage_run] = row.outcome
    return queued


def _due(
    connection: Connection,
    run: Run,
    now: datetime,
    sizes: Mapping[str, int],
    full: Collection[int],
    labels: Collection[str],
) -> tuple[facts.Taken, ...]:
    """What may be claimed now, as far as only pools and workers keep it, in the order of choice (rule 9).

    Of a held run, what its command may claim. Left out are those whose DAG is at its cap, whose pool is too
    small for them, and whose label nobody has: they keep nobody else.
    """
    ours = runs.c.held_by.is_(None) if run.held_by is None else runs.c.held_by == run.held_by
    query = _joined(stages.c.queue).where(
        attempts.c.state == AttemptState.QUEUED,
        attempts.c.due_at <= now,
        runs.c.state == RunState.RUNNING,
        or_(attempts.c.only.is_not(None), ~runs.c.paused & ~stages.c.paused),
        ours,
    )
    order = (runs.c.lane.desc(), stages.c.weight.desc(), runs.c.number, stages.c.id)
    return tuple(
        _as_taken(row)
        for row in connection.execute(query.order_by(*order))
        if row.dag not in full
        and row.pool_slots <= sizes.get(row.pool, row.pool_slots)
        and (row.queue is None or row.queue in labels or run.held_by is not None)
    )


def _joined(*columns: Any) -> Any:
    """A select over attempts with what is told of each."""
    told = (attempts.c.id, stages.c.run, stages.c.stage, stages.c.pool, stages.c.pool_slots)
    return (
        select(*told, runs.c.lane, runs.c.dag, *columns)
        .join_from(attempts, stages, attempts.c.stage_run == stages.c.id)
        .join(runs, stages.c.run == runs.c.number)
    )
