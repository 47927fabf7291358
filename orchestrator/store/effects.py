"""What an action wants done with its success, applied in the transaction that writes the success."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from orchestrator.dag.manual import manual_interval
from orchestrator.dag.model import Dag as Definition
from orchestrator.dag.params import resolve_params
from orchestrator.errors import FustgoError, UsageError
from orchestrator.kept import VARIABLE_KEY, unkeepable
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.states import RunState
from orchestrator.runs.times import given_date
from orchestrator.store import dags, hints, runs, stage_runs, variables
from orchestrator.store.dialects import insert_absent
from orchestrator.store.identity import RUN_ID, uuid7
from orchestrator.store.tables import Dag, DagVersion, Run, StageRun, table_of
from orchestrator.store.tables.services import Audit
from orchestrator.store.transitions import tell
from orchestrator.store.verbs.triggering import loaded_dag

audits = table_of(Audit)
_log = logging.getLogger("fustgo.store")


@dataclass(frozen=True)
class Refusal:
    """Why the effects of an action cannot be applied: its attempt has failed then, and none of them is."""

    message: str
    hint: str = ""


@dataclass(frozen=True)
class _Trigger:
    """A run of another DAG, as it will be inserted."""

    dag: Dag
    version: DagVersion
    run_id: str
    params: Mapping[str, Json]
    logical_date: datetime
    interval: tuple[datetime, datetime] | None


def apply(
    connection: Connection,
    run: Run,
    stage_run: StageRun,
    attempt: int,
    effects: Sequence[Mapping[str, Json]],
    now: datetime,
) -> Refusal | None:
    """Apply the effects of an action that has succeeded; where one cannot be, write none and say why.

    `set_variable` sets or overwrites. `trigger_run` inserts a queued run of a loaded DAG, unless a run of its
    `run_id` is there, which an event tells then. A `run_id` that is not given is made from the triggering run
    and node, so that a repeat starts nothing. No DAG row is locked; who promotes runs does that (rule 8.13).
    """
    triggers: list[_Trigger] = []
    for effect in effects:
        if broken := unkeepable(effect):
            return Refusal(f"node {stage_run.stage!r}: an effect holds {broken}, which no database keeps")
        if effect["effect"] == "set_variable" and not VARIABLE_KEY.fullmatch(effect["key"]):
            told = f"node {stage_run.stage!r} cannot set variable {effect['key']!r}"
            return Refusal(told, "a key has letters, digits and _ . -, at most 250")
        if effect["effect"] == "trigger_run":
            made = _trigger(connection, run, stage_run, effect, len(triggers), now)
            if isinstance(made, Refusal):
                return made
            triggers.append(made)
    for effect in sorted((e for e in effects if e["effect"] == "set_variable"), key=lambda e: str(e["key"])):
        variables.set_variable(connection, effect["key"], effect["value"], now)
        _audit(connection, run, stage_run, attempt, "set variable", effect["key"], now)
    for trigger in triggers:
        if _insert_run(connection, run, trigger, now):
            target = f"{trigger.dag.dag_id}/{trigger.run_id}"
            _audit(connection, run, stage_run, attempt, "trigger", target, now)
        else:
            _tell_of_none(connection, run, stage_run, attempt, trigger, now)
    return None


def _trigger(
    connection: Connection,
    run: Run,
    stage_run: StageRun,
    effect: Mapping[str, Json],
    number: int,
    now: datetime,
) -> _Trigger | Refusal:
    name, node = str(effect["dag_id"]), stage_run.stage
    try:
        dag, version = loaded_dag(connection, name)
        definition = Definition.from_document(version.document)
        params = resolve_params(definition, dict(effect["params"]))
        run_id = _checked(effect["run_id"] or runs_name(run, node, number))
        date = given_date(effect["logical_date"], "UTC") or now
        interval = manual_interval(definition, date)
    except FustgoError as error:
        return Refusal(f"node {node!r} cannot trigger DAG {name!r}: {error.message}", error.hint)
    return _Trigger(dag, version, run_id, params, date, interval)


def runs_name(run: Run, node: str, number: int) -> str:
    """The `run_id` of the run that a node of a run triggers: the same at every try. Several are numbered."""
    stem = f"triggered__{run.uid}__{node.replace('/', '.')}"[:240]
    return stem if number == 0 else f"{stem}__{number + 1}"


def _checked(run_id: str) -> str:
    if not RUN_ID.fullmatch(run_id):
        raise UsageError(f"run id {run_id!r}", hint="letters, digits and _ . ~ : + -, at most 250")
    return run_id


def _insert_run(connection: Connection, by: Run, trigger: _Trigger, now: datetime) -> bool:
    """Insert the run unless it is there; whether it was not."""
    table, uid = runs.runs, uuid7(now)
    first, last = trigger.interval or (None, None)
    insert_absent(
        connection,
        table,
        {
            "uid": uid,
            "dag": trigger.dag.id,
            "version": trigger.version.id,
            "bundle_version": trigger.dag.bundle_version,
            "run_id": trigger.run_id,
            "run_type": "triggered",
            "lane": "live",
            "logical_date": trigger.logical_date,
            "interval_start": first,
            "interval_end": last,
            "file": trigger.dag.file,
            "params": dict(trigger.params),
            "state": RunState.QUEUED,
            "paused": False,
            "project": trigger.dag.project,
            "note": "",
            "created_at": now,
        },
    )
    number = connection.execute(select(table.c.number).where(table.c.uid == uid)).scalar()
    if number is None:
        return False
    tell(connection, "run", now=now, run=number, new=RunState.QUEUED)
    graph = dags.graph_of(connection, trigger.version.id)
    stage_runs.add(connection, number, trigger.version.id, graph, lane="live")
    hints.mark(connection, "run")
    return True


def _tell_of_none(
    connection: Connection, by: Run, stage_run: StageRun, attempt: int, trigger: _Trigger, now: datetime
) -> None:
    """Say that nothing was triggered, since a run of that name is there."""
    table, name = runs.runs, f"{trigger.dag.dag_id}/{trigger.run_id}"
    named = (table.c.dag == trigger.dag.id) & (table.c.run_id == trigger.run_id)
    there = connection.execute(select(table.c.number).where(named)).scalar_one()
    ids = {"run": by.number, "stage_run": stage_run.id, "attempt": attempt}
    tell(connection, "trigger", now=now, new="there", detail={"run": there, "name": name}, **ids)
    said = "node %r of run %s triggers nothing: run %s (%s) is there already"
    _log.info(said, stage_run.stage, by.number, there, name, extra=ids)


def _audit(
    connection: Connection,
    run: Run,
    stage_run: StageRun,
    attempt: int,
    verb: str,
    target: str,
    now: datetime,
) -> None:
    detail = {"run": run.number, "node": stage_run.stage, "attempt": attempt}
    row = {"at": now, "actor": f"node {stage_run.stage}", "verb": verb, "target": target, "detail": detail}
    connection.execute(insert(audits).values(**row))
