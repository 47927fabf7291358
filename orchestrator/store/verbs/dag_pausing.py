"""Pausing a DAG stops its schedule and nothing else (rule 10.3); unpausing plans anew when it fires."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, update

from orchestrator.store import schedules
from orchestrator.store.dags import get_dag, lock_dag
from orchestrator.store.database import Database
from orchestrator.store.tables import Dag, table_of
from orchestrator.store.tables.services import Schedule
from orchestrator.store.verbs.acts import TakenBackError, perform
from orchestrator.store.verbs.audit import audit
from orchestrator.store.verbs.triggering import known_dag

_dags = table_of(Dag)


@dataclass(frozen=True)
class DagPause:
    """A DAG as the verb leaves it, or would leave it; `changed` is False where it was so already.

    `schedule` is None where it never had one, `active` counts its runs as `max_active_runs` does.
    """

    dag: Dag
    schedule: Schedule | None
    active: int
    changed: bool
    dry_run: bool


def set_paused(database: Database, dag_id: str, paused: bool, *, actor: str, dry_run: bool) -> DagPause:
    """Pause a DAG, or lift its pause, in one transaction; of a dry run nothing stays.

    What came due while it was paused is missed, and fires or not as its `catchup` says. Raises UsageError
    where there is no DAG of this id.
    """

    def transaction(connection: Connection) -> DagPause:
        dag = known_dag(connection, dag_id)
        lock_dag(connection, dag.id)
        changed = _set(connection, dag.id, paused, database.clock.now())
        if changed:
            verb = "pause_dag" if paused else "unpause_dag"
            audit(connection, actor, verb, f"dag {dag_id}", {}, database.clock.now())
        done = DagPause(
            get_dag(connection, dag.id),
            schedules.find_schedule(connection, dag.id),
            schedules.active_runs(connection, [dag.id]).get(dag.id, 0),
            changed,
            dry_run,
        )
        if dry_run:
            raise TakenBackError(done)
        return done

    return perform(database, transaction)


def _set(connection: Connection, dag: int, paused: bool, now: datetime) -> bool:
    """Whether it was otherwise before. The schedule is planned while its facts still say `paused`."""
    if get_dag(connection, dag).paused == paused:
        return False
    if not paused:
        schedules.replan(connection, dag, now)
    connection.execute(update(_dags).where(_dags.c.id == dag).values(paused=paused))
    return True
