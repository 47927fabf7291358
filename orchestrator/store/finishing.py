"""Ending attempts with all that follows from it, many in one transaction (rules 8.3, 8.11).

A batch costs a number of statements that does not grow with it. One that was taken away bounces and changes
nothing; what is wrong with one report fails its attempt, never the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, exists, select

from orchestrator.kept import MAX_RESULT, unkeepable
from orchestrator.runs.ending import Again, Clear, End, Fate, Situation, fate
from orchestrator.runs.report import Report
from orchestrator.runs.states import RUN_ENDS, AttemptState, EpochState, Outcome, RunState, StageState, StopAs
from orchestrator.store import attempts, epochs, runs, stage_runs
from orchestrator.store.advancing import Advancing, Following
from orchestrator.store.dags import dags, graph_known, graph_of, versions
from orchestrator.store.sets import within

SHORTEST_SNOOZE = timedelta(seconds=1)  # one that is over already would be looked at without an end


@dataclass(frozen=True)
class Finished:
    """What a finish left: the stage's state, when its next attempt is due, and the run's state.

    `dag` is the run's DAG by its row's id where the services execute the run: when such a run has ended, one
    of its DAG may be promoted.
    """

    stage: StageState
    due: datetime | None
    run: RunState
    dag: int | None = None


def finish(
    connection: Connection, reports: Mapping[int, Report], now: datetime
) -> dict[int, Finished | None]:
    """End running attempts, each as its report says, with all that follows.

    None is the answer for one that does not run any more: it was taken away, nothing of it counts. A
    repeat with the same outcome, whose answer was lost, is answered as done (rule 1.3). A success that has
    not applied its last epoch, keeps too large a result, or whose effects are refused, ends failed.
    """
    attempts.lock_runs(connection, reports)
    rows = _read(connection, reports)
    batch = _Batch(connection, now)
    for row in rows:
        if row.attempt_state == AttemptState.RUNNING:
            batch.end(row, _checked(connection, row, reports[row.id], now))
    states = batch.follow()
    return dict.fromkeys(reports) | {
        row.id: batch.answer(row, states)
        for row in rows
        if row.id in batch.fates or row.outcome == reports[row.id].outcome
    }


def error_of(report: Report) -> dict[str, Any] | None:
    """What the store keeps of a report that tells of no success; None where it has nothing to say."""
    if report.outcome == Outcome.SUCCESS:
        return None
    told = {"message": report.message, "hint": report.hint, "node": report.node, "cause": report.cause}
    return {name: text for name, text in told.items() if text} or None


class _Batch:
    """The attempts that one transaction ends. `fates` are what becomes of their stages, by attempt."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection, self.now = connection, now
        self.advancing = Advancing(connection, now)
        self.fates: dict[int, Fate] = {}
        self._due: dict[int, datetime] = {}
        self._cleared: list[tuple[Row[Any], Following]] = []
        self._with_progress: list[int] = []

    def end(self, row: Row[Any], report: Report) -> None:
        """End a running attempt; what becomes of its stage follows."""
        error = error_of(report)
        given_up = row.only == "abandon" and report.outcome == Outcome.SUCCESS
        if given_up:
            epochs.give_up(self.connection, row.run, row.stage_run, self.now)
            stage_runs.change(self.connection, row.stage_run, abandoning=False)
        old, new = AttemptState.RUNNING, AttemptState.DONE
        values = {"outcome": report.outcome, "error": error, "ended_at": self.now}
        self.advancing.moves.attempt(row.run, row.stage_run, row.id, old, new, **values)
        if row.has_progress:
            self._with_progress.append(row.id)
        self.fates[row.id] = found = self._fate(row, report, owed=row.owed is not None and not given_up)
        match found:
            case End():
                self._end_stage(row, found, report, error)
            case Again():
                self._try_again(row, found, report, error)
            case Clear():
                self._cleared.append((row, self._following(row)))

    def follow(self) -> dict[int, RunState]:
        """Write all of it, and what follows in the runs; how they stand then."""
        if self._cleared:
            self.advancing.moves.flush()
            for row, following in self._cleared:
                self._start_over(row, following)
        if self._with_progress:
            self.connection.execute(_NO_PROGRESS, {"ids": self._with_progress})
        return self.advancing.follow()

    def answer(self, row: Row[Any], states: Mapping[int, RunState]) -> Finished:
        """What the finish of an attempt left."""
        dag = row.dag if row.held_by is None else None
        found = self.fates.get(row.id)
        if isinstance(found, End):
            return Finished(found.state, None, states[row.run], dag)
        if isinstance(found, Again):
            return Finished(StageState.QUEUED, self._due[row.id], states[row.run], dag)
        return _standing(self.connection, row.stage_run, dag)

    def _fate(self, row: Row[Any], report: Report, *, owed: bool) -> Fate:
        graph = self._graph(row)
        if row.version != row.run_version:
            graph = graph_of(self.connection, row.version)
        return fate(
            Situation(
                attempt=row.id,
                outcome=report.outcome,
                stage=graph[row.stage],
                only=row.only,
                stop_as=row.stop_as,
                owed=owed,
                open_run=row.run_state not in RUN_ENDS and row.cancel_cause is None,
                retry=report.retry,
                give_up=report.gives_up,
                tries=row.tries,
                losses=row.losses,
            )
        )

    def _end_stage(self, row: Row[Any], end: End, report: Report, error: dict[str, Any] | None) -> None:
        self.advancing.end_stage(
            self._following(row),
            row.stage_run,
            row.stage,
            row.stage_state,
            end,
            error=error or row.error,
            result=dict(report.results) or None,
        )

    def _try_again(self, row: Row[Any], again: Again, report: Report, error: dict[str, Any] | None) -> None:
        moves, silent = self.advancing.moves, report.outcome == Outcome.SNOOZED
        values: dict[str, Any] = {"tries": again.tries, "losses": again.losses, "stop_as": again.stop_as}
        if again.only == "abandon":
            values["abandoning"] = True
        if error is not None:
            values["error"] = error
        old, new = row.stage_state, StageState.QUEUED
        moves.stage(row.run, row.stage_run, old, new, silent=silent, **values)
        due = self.now + timedelta(seconds=again.delay)
        if report.outcome == Outcome.SNOOZED and again.only is None:
            due = max(self.now + SHORTEST_SNOOZE, report.until or self.now)
        moves.enqueue(row.stage_run, due=due, only=again.only)
        self._due[row.id] = due
        self._following(row).queues = True

    def _start_over(self, row: Row[Any], following: Following) -> None:
        """A clear takes effect: the stage is judged anew, and those below wait for it again."""
        stage_runs.start_over(self.connection, stage_runs.get(self.connection, row.stage_run), self.now)
        rows = stage_runs.outline(self.connection, row.run)
        stage_runs.recount(self.connection, following.graph, rows)
        following.judge([row.stage])

    def _following(self, row: Row[Any]) -> Following:
        return self.advancing.of(row.run, row.run_state, row.cancel_cause, self._graph(row))

    def _graph(self, row: Row[Any]) -> Any:
        return graph_known(self.connection, row.run_version, (row.uid, row.hash))


def _read(connection: Connection, ids: Collection[int]) -> Sequence[Any]:
    return connection.execute(_READ, {"ids": ids}).all()


def _checked(connection: Connection, row: Row[Any], report: Report, now: datetime) -> Report:
    """The report, as a failure where it claims a success that cannot be."""
    if report.outcome != Outcome.SUCCESS:
        return report
    if row.owed is not None and row.only != "abandon":
        told = f"attempt {row.id} cannot succeed: epoch {row.owed} is not applied"
        return replace(
            report, outcome=Outcome.FAILED, message=told, hint="this is a defect: please report it"
        )
    size = len(json.dumps(dict(report.results)).encode()) if report.results else 0
    if size > MAX_RESULT:
        told = f"a result of {size} bytes: at most {MAX_RESULT} are kept"
        hint = "write it to a file, return its path"
        return replace(report, outcome=Outcome.FAILED, message=told, hint=hint, retry=False)
    if broken := unkeepable(dict(report.results)):
        told = f"a result holds {broken}, which no database keeps"
        return replace(report, outcome=Outcome.FAILED, message=told, retry=False)
    return _with_effects(connection, row, report, now)


def _with_effects(connection: Connection, row: Row[Any], report: Report, now: datetime) -> Report:
    """Apply the effects of a success that counts; the failure that it becomes where one is refused."""
    if not report.effects or row.stop_as not in (None, StopAs.SUCCESS):
        return report
    from orchestrator.store import effects  # reads definitions, which no other finish needs

    run, stage_run = runs.get(connection, row.run), stage_runs.get(connection, row.stage_run)
    refusal = effects.apply(connection, run, stage_run, row.id, report.effects, now)
    if refusal is None:
        return report
    told = {"message": refusal.message, "hint": refusal.hint, "node": row.stage}
    return Report(Outcome.FAILED, retry=False, exit_code=1, **told)


def _standing(connection: Connection, stage_run: int, dag: int | None) -> Finished:
    stage = stage_runs.get(connection, stage_run)
    due = select(_attempts.c.due_at).where(
        _attempts.c.stage_run == stage_run, _attempts.c.state == AttemptState.QUEUED
    )
    return Finished(stage.state, connection.execute(due).scalar(), runs.get(connection, stage.run).state, dag)


_attempts, _progress, _epochs = attempts.attempts, attempts.progress, epochs.epochs
_stages, _runs = stage_runs.stage_runs, runs.runs
_OWED = (
    select(_epochs.c.number)
    .where(_epochs.c.stage_run == _stages.c.id, _epochs.c.state == EpochState.DECIDED)
    .correlate(_stages)
    .scalar_subquery()
)
_READ = (
    select(
        _attempts.c.id,
        _attempts.c.state.label("attempt_state"),
        *(_attempts.c[name] for name in ("outcome", "only", "stage_run")),
        *(_stages.c[name] for name in ("run", "stage", "version", "stop_as", "tries", "losses", "error")),
        _stages.c.state.label("stage_state"),
        _runs.c.state.label("run_state"),
        _runs.c.version.label("run_version"),
        *(_runs.c[name] for name in ("cancel_cause", "dag", "held_by")),
        dags.c.uid,
        versions.c.hash,
        _OWED.label("owed"),
        exists().where(_progress.c.attempt == _attempts.c.id).label("has_progress"),
    )
    .join_from(_attempts, _stages, _attempts.c.stage_run == _stages.c.id)
    .join(_runs, _stages.c.run == _runs.c.number)
    .join(dags, _runs.c.dag == dags.c.id)
    .join(versions, _runs.c.version == versions.c.id)
    .where(within(_attempts.c.id, "ids"))
    .order_by(_runs.c.number, _attempts.c.id)
)
_NO_PROGRESS = _progress.delete().where(within(_progress.c.attempt, "ids"))
