"""Epochs: the decisions of a stage run, numbered upwards for good (rules 1.5, 2.4-2.6)."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from orchestrator.errors import StoreError
from orchestrator.runs.checkpoint import Checkpoint, Decision, Token
from orchestrator.runs.states import EpochState
from orchestrator.store.tables import Epoch, StageRun, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.transitions import move_epoch, tell

epochs, stage_runs = table_of(Epoch), table_of(StageRun)


def last_epoch(connection: Connection, stage_run: int) -> Epoch | None:
    """The epoch with the highest number, whatever became of it."""
    query = select(epochs).where(epochs.c.stage_run == stage_run).order_by(epochs.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else value(Epoch, row)


def highest(connection: Connection, stage_run: int, state: EpochState | None = None) -> int:
    """The highest epoch number ever decided, of those in `state` where it is given; 0 before the first."""
    query = select(func.max(epochs.c.number)).where(epochs.c.stage_run == stage_run)
    if state is not None:
        query = query.where(epochs.c.state == state)
    return connection.execute(query).scalar() or 0


def final_given_up(connection: Connection, stage_run: int, base: int) -> bool:
    """Whether the present start can never become complete: its final epoch was abandoned."""
    query = select(epochs.c.id).where(
        epochs.c.stage_run == stage_run,
        epochs.c.number > base,
        epochs.c.final,
        epochs.c.state == EpochState.ABANDONED,
    )
    return connection.execute(query).first() is not None


def owed_epoch(connection: Connection, stage_run: int) -> int | None:
    """The number of the decided epoch that is not applied yet; there is at most one."""
    query = select(epochs.c.number).where(
        epochs.c.stage_run == stage_run, epochs.c.state == EpochState.DECIDED
    )
    return connection.execute(query).scalar()


def owing(connection: Connection, run: int) -> set[int]:
    """The stage runs of a run that owe a decided epoch to their targets."""
    query = select(epochs.c.stage_run).join_from(epochs, stage_runs, epochs.c.stage_run == stage_runs.c.id)
    owed = epochs.c.state == EpochState.DECIDED
    return {*connection.execute(query.where(stage_runs.c.run == run, owed)).scalars()}


def incomplete(connection: Connection, run: int) -> set[int]:
    """The stage runs of a run whose present start can never become complete (see `final_given_up`)."""
    query = select(epochs.c.stage_run).join_from(epochs, stage_runs, epochs.c.stage_run == stage_runs.c.id)
    given_up = (epochs.c.number > stage_runs.c.base, epochs.c.final, epochs.c.state == EpochState.ABANDONED)
    return {*connection.execute(query.where(stage_runs.c.run == run, *given_up)).scalars()}


def highest_of(connection: Connection, run: int) -> dict[int, int]:
    """The highest epoch that each stage run of a run has decided; those without one are left out."""
    query = select(epochs.c.stage_run, func.max(epochs.c.number).label("number"))
    joined = query.join_from(epochs, stage_runs, epochs.c.stage_run == stage_runs.c.id)
    rows = connection.execute(joined.where(stage_runs.c.run == run).group_by(epochs.c.stage_run))
    return {row.stage_run: row.number for row in rows}


def checkpoint(connection: Connection, stage_run: int, base: int) -> Checkpoint:
    """Where the present start of a stage run stands. An epoch that was given up counts: its rows are not
    read again, or an output that has them would get them twice.
    """
    kept = (
        select(epochs.c.number, epochs.c.tokens)
        .where(epochs.c.stage_run == stage_run, epochs.c.number > base)
        .order_by(epochs.c.number)
    )
    since_base = connection.execute(kept).all()
    return Checkpoint(
        base=base,
        highest=max(base, highest(connection, stage_run)),
        applied=highest(connection, stage_run, EpochState.APPLIED),
        abandoned=highest(connection, stage_run, EpochState.ABANDONED),
        last=_decision(connection, stage_run, since_base[-1].number) if since_base else None,
        tokens=tuple(Token(**token) for row in since_base for token in row.tokens),
    )


def insert_epoch(
    connection: Connection, run: int, stage_run: int, attempt: int, decision: Decision, now: datetime
) -> None:
    """Write a decision as the next epoch of its stage run."""
    record = decision.to_json()
    tokens = list(record.pop("tokens"))
    connection.execute(
        insert(epochs).values(
            stage_run=stage_run,
            number=decision.epoch,
            attempt=attempt,
            state=EpochState.DECIDED,
            final=decision.final,
            record=record,
            tokens=tokens,
            decided_at=now,
        )
    )
    ids = {"run": run, "stage_run": stage_run, "attempt": attempt, "epoch": decision.epoch}
    tell(connection, "epoch", now=now, new=EpochState.DECIDED, **ids)


def refuse_unless_next(last: Epoch | None, decision: Decision, base: int) -> None:
    """Raise StoreError unless this decision may follow the last epoch (rule 2.6)."""
    number = max(base, last.number if last is not None else 0)
    if decision.epoch != number + 1:
        raise StoreError(f"epoch {decision.epoch} cannot be decided: the next one is {number + 1}")
    if last is None:
        return
    if last.state == EpochState.DECIDED:
        raise StoreError(f"epoch {decision.epoch} cannot be decided: epoch {number} is not applied")
    if last.final and last.number > base:
        raise StoreError(f"epoch {decision.epoch} cannot be decided: epoch {number} was the final one")


def is_same(last: Epoch | None, attempt: int, decision: Decision) -> bool:
    """Whether this decision is the last epoch already: a write whose answer was lost is asked again."""
    if last is None or (last.number, last.attempt) != (decision.epoch, attempt):
        return False
    return _decision_of(last.record, last.tokens) == Decision.from_json(_as_json(decision))


def mark_applied(connection: Connection, run: int, stage_run: int, number: int, now: datetime) -> None:
    """Mark an epoch applied; done already is done. Raises StoreError for one that was never decided."""
    query = select(epochs.c.state).where(epochs.c.stage_run == stage_run, epochs.c.number == number)
    state = connection.execute(query).scalar()
    if state is None or state == EpochState.ABANDONED:
        raise StoreError(f"epoch {number} cannot be applied: it was {state or 'never decided'}")
    if state == EpochState.DECIDED:
        old, new = EpochState.DECIDED, EpochState.APPLIED
        move_epoch(connection, run, stage_run, number, old, new, now=now, applied_at=now)


def give_up(connection: Connection, run: int, stage_run: int, now: datetime) -> int | None:
    """Mark the epoch that is owed as abandoned; its number, None where nothing is owed."""
    number = owed_epoch(connection, stage_run)
    if number is not None:
        old, new = EpochState.DECIDED, EpochState.ABANDONED
        move_epoch(connection, run, stage_run, number, old, new, now=now)
    return number


def rows_since_base(connection: Connection, run: int, nodes: Collection[str]) -> dict[str, int]:
    """Rows that each of these outputs has applied, or owes, since it last started over in this run.

    For outputs that append: what a clear would bring a second time.
    """
    query = (
        select(epochs.c.tokens)
        .join_from(epochs, stage_runs, epochs.c.stage_run == stage_runs.c.id)
        .where(stage_runs.c.run == run, epochs.c.number > stage_runs.c.base)
        .where(epochs.c.state != EpochState.ABANDONED)
    )
    counted = dict.fromkeys(nodes, 0)
    for tokens in connection.execute(query).scalars():
        for token in tokens:
            if token["node"] in counted:
                counted[token["node"]] += token["rows"]
    return counted


def _decision(connection: Connection, stage_run: int, number: int) -> Decision:
    query = select(epochs.c.record, epochs.c.tokens).where(
        epochs.c.stage_run == stage_run, epochs.c.number == number
    )
    row = connection.execute(query).one()
    return _decision_of(row.record, row.tokens)


def _decision_of(record: dict[str, Any], tokens: list[dict[str, Any]]) -> Decision:
    return Decision.from_json({**record, "tokens": tokens})


def _as_json(decision: Decision) -> dict[str, Any]:
    """What the database would give back: tuples become lists, keys text."""
    document: dict[str, Any] = json.loads(json.dumps(decision.to_json()))
    return document
