"""What the store tells telemetry of attempts and runs, once the transaction that moved them has committed.

Whoever commits tells: a worker that finishes, a scheduler that rescues, a verb. So nothing is counted twice,
and nothing that was rolled back. It costs one read a transaction, and only where a collector is configured.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Row, select

from orchestrator.errors import StoreError
from orchestrator.runs.states import RUN_ENDS, AttemptState, Outcome, RunState
from orchestrator.store.tables import Attempt, Dag, DagVersion, Run, StageRun, table_of
from orchestrator.telemetry import metrics, traces

if TYPE_CHECKING:
    from orchestrator.store.database import Database

_NOTED = "fustgo.measures"
attempts, stage_runs, runs = table_of(Attempt), table_of(StageRun), table_of(Run)
dags, versions = table_of(Dag), table_of(DagVersion)
_KEPT = 256  # versions whose kinds of nodes are remembered
_known_kinds: dict[str, Mapping[str, str]] = {}
_log = logging.getLogger("fustgo.store")
_DIRECTIONS: Mapping[str, Literal["read", "written"]] = {"input": "read", "output": "written"}


@dataclass
class Noted:
    """What moved in a transaction: attempts by id, runs by number."""

    claimed: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    ended_runs: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.claimed or self.ended or self.ended_runs)


@contextlib.contextmanager
def noted(connection: Connection) -> Iterator[Noted]:
    """What moves on this connection inside the block; nothing is noted where nobody is told."""
    found = Noted()
    info = connection.info  # of the session: a connection that broke gives it out no more
    if metrics.is_on():
        info[_NOTED] = found
    try:
        yield found
    finally:
        info.pop(_NOTED, None)


def note_attempt(connection: Connection, attempt: int, new: AttemptState) -> None:
    """An attempt was claimed, or ended."""
    found: Noted | None = connection.info.get(_NOTED)
    if found is not None:
        (found.claimed if new == AttemptState.RUNNING else found.ended).add(attempt)


def note_run(connection: Connection, number: int, new: RunState) -> None:
    """A run moved."""
    found: Noted | None = connection.info.get(_NOTED)
    if found is not None and new in RUN_ENDS:
        found.ended_runs.add(number)


def tell(database: Database, moved: Noted) -> None:
    """Measure what moved. Raises nothing: what has committed holds, measured or not."""
    try:
        _tell(database, moved)
    except StoreError as error:
        _log.warning("what moved in the store could not be measured: %s", error.message)
    except Exception:
        _log.exception("what moved in the store could not be measured")


def _tell(database: Database, moved: Noted) -> None:
    with database.read() as connection:
        attempts = _of_attempts(connection, moved.claimed | moved.ended)
        ended_runs = _of_runs(connection, moved.ended_runs)
        kinds = {row.hash: _kinds(connection, row) for row in attempts if row.result is not None}
    for row in attempts:
        if row.id in moved.claimed:
            metrics.queue_delay((row.claimed_at - row.due_at).total_seconds())
        if row.id in moved.ended and row.claimed_at is not None:  # else it was withdrawn from the queue
            _tell_attempt(row, kinds.get(row.hash, {}))
    for row in ended_runs:
        if row.ended_at is not None:  # else a verb has opened it again
            _tell_run(row)


def _of_attempts(connection: Connection, ids: Collection[int]) -> list[Any]:
    if not ids:
        return []
    shown = (attempts.c[name] for name in ("id", "due_at", "claimed_at", "ended_at", "outcome", "error"))
    of_stage = (stage_runs.c.stage, stage_runs.c.nodes, stage_runs.c.result, stage_runs.c.version)
    query = (
        select(*shown, *of_stage, runs.c.uid, dags.c.dag_id, versions.c.hash)
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .join(runs, stage_runs.c.run == runs.c.number)
        .join(dags, runs.c.dag == dags.c.id)
        .join(versions, stage_runs.c.version == versions.c.id)
    )
    return list(connection.execute(query.where(attempts.c.id.in_(sorted(ids)))))


def _of_runs(connection: Connection, numbers: Collection[int]) -> list[Any]:
    if not numbers:
        return []
    shown = (runs.c[name] for name in ("uid", "run_id", "state", "created_at", "started_at", "ended_at"))
    query = select(*shown, dags.c.dag_id).join_from(runs, dags, runs.c.dag == dags.c.id)
    return list(connection.execute(query.where(runs.c.number.in_(sorted(numbers)))))


def _kinds(connection: Connection, row: Row[Any]) -> Mapping[str, str]:
    """The kind of each node of a version, read once a process."""
    if row.hash not in _known_kinds:
        if len(_known_kinds) >= _KEPT:
            _known_kinds.clear()
        query = select(versions.c.document).where(versions.c.id == row.version)
        document = connection.execute(query).scalar_one()
        _known_kinds[row.hash] = {node["id"]: node.get("kind", "") for node in document.get("nodes", ())}
    return _known_kinds[row.hash]


def _tell_attempt(row: Row[Any], kinds: Mapping[str, str]) -> None:
    metrics.attempt_finished(row.outcome, (row.ended_at - row.claimed_at).total_seconds(), dag=row.dag_id)
    if row.outcome == Outcome.LOST:
        metrics.attempts_lost()
    results = row.result if row.outcome == Outcome.SUCCESS and isinstance(row.result, dict) else {}
    nodes = {node: found if isinstance(found := results.get(node), dict) else {} for node in row.nodes}
    for node, result in nodes.items():
        if (direction := _DIRECTIONS.get(kinds.get(node, ""))) is not None:
            metrics.rows(_count(result, "rows"), direction, dag=row.dag_id)
        metrics.rows(_count(result, "rejects"), "rejected", dag=row.dag_id)
    error = row.error or {}
    traces.attempt_ended(
        row.uid,
        row.id,
        dag=row.dag_id,
        stage=row.stage,
        outcome=row.outcome,
        started=row.claimed_at,
        ended=row.ended_at,
        nodes=nodes,
        error=error.get("message", ""),
        culprit=error.get("node", ""),
    )


def _tell_run(row: Row[Any]) -> None:
    metrics.run_ended(row.state, dag=row.dag_id)
    traces.run_ended(
        row.uid,
        dag=row.dag_id,
        run_id=row.run_id,
        state=row.state,
        started=row.started_at or row.created_at,
        ended=row.ended_at,
    )


def _count(result: Mapping[str, Any], name: str) -> int:
    value = result.get(name, 0)
    return value if isinstance(value, int) else 0
