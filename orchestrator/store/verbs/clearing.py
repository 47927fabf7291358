"""Starting over (rule 7.1): bases rise, positions and states go, the run and its writers stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError
from orchestrator.runs.advance import below
from orchestrator.runs.effects import Extra, RowsAgain
from orchestrator.runs.states import StageState, StopAs
from orchestrator.store import attempts, epochs, lifecycle, runs, stage_runs, views
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import Run
from orchestrator.store.transitions import Moves
from orchestrator.store.verbs.moving import move_to_latest
from orchestrator.store.verbs.naming import above, refuse_cancelling, stages_of
from orchestrator.store.verbs.stopping import must_wait, refuse_owing


def clear_run(
    connection: Connection,
    run: Run,
    now: datetime,
    *,
    nodes: Collection[str] = (),
    upstream: bool = False,
    downstream: bool = False,
    latest: bool = False,
    allow_duplicates: bool = False,
) -> Iterable[Extra]:
    """Start a run over, or the stages of `nodes`, with those above or below them.

    One that runs starts over when it has stopped. `latest` moves the run to the newest version of its DAG.
    Raises UsageError for a node that is not there,
    RefusedError where the run is being cancelled, an epoch is owed, rows would come a second time and
    `allow_duplicates` is not said, or a published file would be in the way. The run must be locked.
    """
    refuse_cancelling(run, "clear")
    graph = graph_of(connection, run.version)
    named = stages_of(graph, run, nodes)
    chosen = _chosen(graph, named, upstream, downstream)
    rows = [row for stage, row in stage_runs.of_run(connection, run.number).items() if stage in chosen]
    owing = epochs.owing(connection, run.number)
    for row in rows:
        refuse_owing(run, row, owing, "clearing it")
    members = {node for row in rows for node in row.nodes}
    refuse_published(connection, run, graph.exclusive & members)
    again = rows_to_repeat(connection, run, graph.repeating & members)
    if not allow_duplicates:
        refuse_duplicates(run, again)
    running = {node for row in rows if row.state == StageState.RUNNING for node in row.nodes}
    if latest:
        over = {row.id for row in rows}
        run = move_to_latest(connection, run, now, clear=f"`fustgo runs clear {run.number}`", but=over)
    _start_over(connection, run, [row.id for row in rows], everything=not named, now=now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return [*named.values(), *(RowsAgain(node, count, node in running) for node, count in again.items())]


def _chosen(graph: StageGraph, named: Collection[str], upstream: bool, downstream: bool) -> set[str]:
    if not named:
        return {stage.id for stage in graph}
    chosen = set(named)
    if upstream:
        chosen |= above(graph, named)
    if downstream:
        chosen |= below(graph, named)
    return chosen


def _start_over(
    connection: Connection, run: Run, chosen: Collection[int], *, everything: bool, now: datetime
) -> None:
    """Start stage runs over; of a run as a whole also those that a newer version brought back."""
    owing, moves = epochs.owing(connection, run.number), Moves(connection, now)
    over = [
        row
        for row in stage_runs.of_run(connection, run.number).values()
        if (everything or row.id in chosen) and not must_wait(connection, row, StopAs.CLEARED, owing, now)
    ]
    attempts.withdraw_all(connection, run.number, [row.id for row in over], moves)
    stage_runs.start_all_over(connection, run, over, moves)
    moves.flush()


def rows_to_repeat(connection: Connection, run: Run, nodes: Collection[str]) -> dict[str, int]:
    """Rows that a clear would bring again, of those outputs among `nodes` that have written any.

    `nodes` are the outputs that append to a table: all others replace what they wrote (rule 7.3).
    """
    counted = epochs.rows_since_base(connection, run.number, nodes)
    return {node: rows for node, rows in counted.items() if rows}


def refuse_duplicates(run: Run, again: Mapping[str, int]) -> None:
    """Raise RefusedError where rows would come a second time."""
    if again:
        counted = ", ".join(f"{rows:,} rows in {node}" for node, rows in again.items())
        raise RefusedError(
            f"clearing run {run.number} would write rows a second time: {counted}",
            hint="they were appended and stay; say --allow-duplicates if that is meant",
        )


def refuse_published(connection: Connection, run: Run, exclusive: Collection[str]) -> None:
    """Raise RefusedError where a file that must not exist was published by this very run: starting over
    could only fail (rule 4.3).
    """
    published = views.published(connection, run.number, exclusive)
    if published:
        raise RefusedError(
            f"run {run.number} has published {', '.join(sorted(published))} with mode error_if_exists",
            hint="start a new run with another path, or use mode: overwrite",
        )
