"""What a run did, in a screenful: for the end of `fustgo run` and for `fustgo runs show`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, TextIO

from orchestrator.cli.render import count, moment, run_state, seconds, size, table

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from orchestrator.runs.figures import Figures
    from orchestrator.store.tables import Attempt
    from orchestrator.store.views import RunView, StageView

HEAD = ("node", "rows in", "rows out", "bytes", "rejects")


def print_summary(view: RunView, rejects: Path | None, out: TextIO, now: datetime) -> None:
    """State, times, and for each node rows, bytes and rejects; `rejects` is where unrouted ones lie."""
    run = view.run
    print(f"{view.dag_name}: run {run.number} ({run.run_id}): {run_state(run)}", file=out)
    started, ended = run.started_at, run.ended_at
    if started is None:
        return
    elapsed = _elapsed(view, now)
    print(
        f"start {moment(started)}  end {moment(ended)}  elapsed {seconds(elapsed)}  (times in UTC)", file=out
    )
    read = 0
    for stage in view.stages:
        figures = figures_of(stage)
        if figures:
            print(table(HEAD, [_row(node, figures[node]) for node in figures]), file=out)
            read += sum(entry.rows_out for entry in figures.values() if not entry.rows_in)
        elif len(view.stages) > 1 or str(stage.stage_run.state) != str(run.state):
            print(f"{stage.stage_run.stage}: {view.shown(stage, now)}", file=out)
    if elapsed and read:
        print(f"{count(read)} row{'s' * (read != 1)} read, {count(read / elapsed)} rows/s", file=out)
    if rejects is not None:
        print(f"rejects that nobody routed: {rejects}/*.jsonl", file=out)


def _elapsed(view: RunView, now: datetime) -> float:
    """Seconds since its start, to its end; of a run that a command holds those in which it worked."""
    run = view.run
    if run.held_by is None and run.started_at is not None:
        return ((run.ended_at or now) - run.started_at).total_seconds()
    return sum((_lasted(attempt) for stage in view.stages for attempt in stage.attempts), 0.0)


def _lasted(attempt: Attempt) -> float:
    """Seconds that an attempt worked; the time between a kill or pause and going on counts for nothing."""
    if attempt.claimed_at is None or attempt.ended_at is None:
        return 0.0
    return (attempt.ended_at - attempt.claimed_at).total_seconds()


def figures_of(stage: StageView) -> dict[str, Figures]:
    """The figures of a stage's nodes, in the order of the stage: live ones while it runs, else those that
    its last epoch holds.
    """
    from orchestrator.runs.figures import Figures, node_figures

    if stage.live is not None:
        names = [field.name for field in fields(Figures)]
        live = stage.live["nodes"].items()
        found = {node: Figures(**{name: moved[name] for name in names}) for node, moved in live}
    else:
        found = node_figures(stage.counters)
    return {node: found[node] for node in stage.nodes if node in found}


def _row(node: str, figures: Figures) -> list[str]:
    refused = count(figures.rejects) + (f" (+{count(figures.dropped)} dropped)" if figures.dropped else "")
    return [
        node,
        count(figures.rows_in) if figures.rows_in or not figures.rows_out else "-",
        count(figures.rows_out) if figures.rows_out else "-",
        size(figures.bytes_out or figures.bytes_in),
        refused,
    ]
