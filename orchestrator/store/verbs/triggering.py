"""Creating a run of a loaded DAG by hand; asked twice, it is the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from orchestrator.errors import RefusedError, UsageError, nearest
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.states import RunState
from orchestrator.store import lifecycle, runs
from orchestrator.store.dags import BUNDLE, get_dag, get_version, lock_dag
from orchestrator.store.tables import Dag, DagVersion, Run, table_of
from orchestrator.store.tables.entity import value


@dataclass(frozen=True)
class Trigger:
    """What a run is to be. `run_id` or `key`, where given, name it: asked again, it is the run that is there.

    A `key` is the caller's own (of a message, a request) and is shown nowhere. Without a logical date the run
    has the time of its creation.
    """

    params: Mapping[str, Json]
    logical_date: datetime | None
    interval: tuple[datetime, datetime] | None
    run_id: str | None = None
    key: str | None = None
    note: str = ""


def known_dag(connection: Connection, dag_id: str) -> Dag:
    """The row of a DAG that was loaded, also of one that was removed since; raises UsageError for another."""
    dags = table_of(Dag)
    loaded = (dags.c.space == BUNDLE) & dags.c.deleted_at.is_(None) & dags.c.version.is_not(None)
    row = connection.execute(select(dags).where(loaded, dags.c.dag_id == dag_id)).first()
    if row is None:
        there = select(dags.c.dag_id).where(loaded, dags.c.removed_at.is_(None))
        known = connection.execute(there).scalars().all()
        raise UsageError(
            f"there is no DAG {dag_id!r}", hint=nearest(dag_id, known) or "none is loaded: start a scheduler"
        )
    return value(Dag, row)


def loaded_dag(connection: Connection, dag_id: str) -> tuple[Dag, DagVersion]:
    """A loaded DAG with its newest version.

    Raises UsageError where there is none of this id, RefusedError where it was removed.
    """
    dag = known_dag(connection, dag_id)
    refuse_removed(dag)
    return dag, get_version(connection, dag.version or 0)


def refuse_removed(dag: Dag) -> None:
    """Raise RefusedError for a DAG that its bundle has no more: nothing new of it starts."""
    if dag.removed_at is not None:
        bundle = dag.bundle or "default"
        raise RefusedError(
            f"DAG {dag.dag_id!r} was removed: {dag.file} of bundle {bundle!r} does not hold it any more",
            hint="put it back, and it is itself again; `fustgo dags errors` shows what could not be loaded",
        )


def trigger_run(
    connection: Connection, dag: Dag, wanted_of: Callable[[DagVersion], Trigger], now: datetime
) -> tuple[Run, bool]:
    """The run that is wanted, and whether it was created just now: queued, to be promoted.

    `wanted_of` is asked under the DAG's lock: a run has the version, the code and the params of one moment,
    whatever was loaded since `dag` was read. Raises what that raises; RefusedError where a run of that name
    is there with other params or another's key, or the DAG was removed meanwhile.
    """
    lock_dag(connection, dag.id)  # who triggers it at the same time finds what we created
    present = get_dag(connection, dag.id)
    wanted = wanted_of(get_version(connection, present.version or 0))
    there = _named(connection, dag, wanted)
    if there is not None:
        _refuse_others(there, wanted)
        return there, False
    refuse_removed(present)
    _refuse_reserved(wanted.run_id or "")
    run = lifecycle.create_run(
        connection,
        dag=present,
        version=present.version or 0,
        run_type="manual",
        logical_date=wanted.logical_date or now,
        interval=wanted.interval,
        params=wanted.params,
        held_by=None,
        state=RunState.QUEUED,
        project=present.project,
        file=present.file,
        run_id=wanted.run_id,
        now=now,
    )
    if wanted.key is not None or wanted.note:
        runs.change(connection, run.number, trigger_key=wanted.key, note=wanted.note)
    return runs.get(connection, run.number), True


def _refuse_reserved(run_id: str) -> None:
    """Who has such a name would pass for a run that its schedule fired."""
    if run_id.startswith(_RESERVED):
        raise UsageError(
            f"run id {run_id!r}: {run_id.partition('__')[0]}__ is for runs that are so made",
            hint="begin it otherwise",
        )


_RESERVED = ("scheduled__", "backfill__")


def _named(connection: Connection, dag: Dag, wanted: Trigger) -> Run | None:
    of_dag = select(runs.runs).where(runs.runs.c.dag == dag.id)
    for column, name in (("trigger_key", wanted.key), ("run_id", wanted.run_id)):
        if name is not None:
            row = connection.execute(of_dag.where(runs.runs.c[column] == name)).first()
            if row is not None:
                return value(Run, row)
    return None


def _refuse_others(there: Run, wanted: Trigger) -> None:
    if dict(wanted.params) != there.params:
        names = {*wanted.params, *there.params}
        other = sorted(name for name in names if wanted.params.get(name) != there.params.get(name))
        raise RefusedError(
            f"run {there.number} ({there.run_id}) is there with other values of {', '.join(other)}",
            hint="take another run id or key, or leave it out",
        )
    if wanted.logical_date not in (None, there.logical_date):
        raise RefusedError(
            f"run {there.number} ({there.run_id}) is there with the logical date {there.logical_date}",
            hint="take another run id or key, or leave the date out",
        )
    if wanted.run_id not in (None, there.run_id) or wanted.key not in (None, there.trigger_key):
        raise RefusedError(
            f"run {there.number} ({there.run_id}) has that name already, but another key or run id",
            hint="take another run id or key, or leave one out",
        )
