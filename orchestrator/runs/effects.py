"""What a verb does, or would do, in words: the values that it collects, one line each for people.

A verb's list is what its transaction did to the rows of its run, told after the fact, not foretold: so a dry
run, which is the same transaction rolled back, cannot say anything else than the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from orchestrator.runs.checkpoint import Json

Row: TypeAlias = Mapping[str, Json]
Kind = Literal["run", "stage", "attempt"]


@dataclass(frozen=True)
class Change:
    """A row that was changed: `columns` are those that differ, each with what it was and what it is.

    `id` is the run's number, the stage run's or the attempt's id; None for a row that the verb made, of which
    every column that is set counts as changed. `stage` is empty for a run. Of a time it is told that it was
    set, not to what: that differs between a dry run and the real one.
    """

    kind: Kind
    id: int | None
    stage: str
    columns: Mapping[str, tuple[Json, Json]]

    def becomes(self, column: str) -> Json:
        """What a column that was changed is now; None where it was not changed."""
        return self.columns[column][1] if column in self.columns else None


@dataclass(frozen=True)
class Ask:
    """What a running attempt is asked: `pause`, or the end that its stage shall have (rule 8.8)."""

    attempt: int
    stage: str
    what: str


@dataclass(frozen=True)
class Named:
    """A node that was named: the verb acts on its whole stage."""

    node: str
    stage: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class RowsAgain:
    """Rows that an output which appends will write a second time; more where its stage still runs."""

    node: str
    rows: int
    at_least: bool = False


@dataclass(frozen=True)
class Remark:
    """What the changes do not say by themselves: what is lost, what goes on. No `stage`: of the run."""

    stage: str
    text: str


Extra: TypeAlias = Named | RowsAgain | Remark


@dataclass(frozen=True)
class Effects:
    """Everything that a verb did to a run."""

    run: int
    changes: tuple[Change, ...] = ()
    asks: tuple[Ask, ...] = ()
    extras: tuple[Extra, ...] = ()

    def lines(self) -> list[str]:
        """The list as people read it; `nothing changes` where that is so."""
        told = [_of_extra(extra) for extra in self.extras if isinstance(extra, Named)]
        told += [line for change in self.changes for line in _of_change(self.run, change)]
        if new := sum(map(_is_new_stage, self.changes)):
            told.append(f"{new} stage{'s' * (new != 1)}")
        told += [_of_ask(ask) for ask in self.asks]
        told += [_of_extra(extra) for extra in self.extras if not isinstance(extra, Named)]
        return told or ["nothing changes"]

    def short(self) -> dict[str, Json]:
        """As much as the audit log keeps: how many rows of each kind, and the lines that fit."""
        counted = {kind: sum(change.kind == kind for change in self.changes) for kind in _KINDS}
        return {"changed": counted, "effects": self.lines()[:_KEPT]}


_KINDS: tuple[Kind, ...] = ("run", "stage", "attempt")
_KEPT = 20
_ENDS = {
    "cleared": "its stage then starts over",
    "success": "its stage then ends as success",
    "failed": "its stage then ends as failed",
    "cancelled": "its stage then ends as cancelled",
    "removed": "its stage is then removed",
}
_ONLY = {"apply": "what is decided is applied first", "abandon": "what is decided is given up"}


def changes(kind: Kind, before: Mapping[int, Row], after: Mapping[int, Row]) -> Iterator[Change]:
    """What differs between the rows of one kind, by their ids; no row ever goes."""
    for key, row in after.items():
        old = before.get(key)
        columns = {name: (None if old is None else old[name], value) for name, value in row.items()}
        differing = {name: _told(*pair) for name, pair in columns.items() if pair[0] != pair[1]}
        if differing:
            yield Change(kind, key if old is not None else None, str(row.get("stage") or ""), differing)


def _told(old: Json, new: Json) -> tuple[Json, Json]:
    times = isinstance(old, datetime), isinstance(new, datetime)
    if not any(times):
        return old, new
    return ("set" if times[0] else old, "set anew" if all(times) else "set" if times[1] else new)


def asks(before: Mapping[int, tuple[str, str]], after: Mapping[int, tuple[str, str]]) -> Iterator[Ask]:
    """What running attempts are asked now and were not before: (stage, what) by attempt, "" for nothing."""
    for attempt, (stage, what) in after.items():
        if what and before.get(attempt, (stage, ""))[1] != what:
            yield Ask(attempt, stage, what)


def _of_change(run: int, change: Change) -> Iterator[str]:
    match change.kind:
        case "run":
            yield from _of_run(run, change)
        case "stage":
            yield from _of_stage(change)
        case "attempt":
            yield from _of_attempt(change)


def _is_new_stage(change: Change) -> bool:
    return change.kind == "stage" and change.id is None


def _of_run(run: int, change: Change) -> Iterator[str]:
    name = f"run {run}"
    if change.id is None:
        yield f"{name} is created: {change.becomes('run_id')}, {change.becomes('state')}"
        return
    if "state" in change.columns:
        old, new = change.columns["state"]
        yield f"{name}: {old}, becomes {new}"
    if "paused" in change.columns:
        yield f"{name} is {'paused' if change.becomes('paused') else 'resumed'}"
    if change.becomes("cancel_cause") and "state" not in change.columns:
        yield f"{name} is being cancelled until its last attempt has ended"
    if "version" in change.columns:
        yield f"{name} moves to the newest version of its DAG"
    if "note" in change.columns:
        note = change.becomes("note")
        yield f"{name}: its note is {note!r}" if note else f"{name}: its note is removed"


def _of_stage(change: Change) -> Iterator[str]:
    name = f"stage {change.stage}"
    if _is_new_stage(change):
        return  # they are counted
    over = ", starts over" if "base" in change.columns else ""
    if "state" in change.columns:
        old, new = change.columns["state"]
        yield f"{name}: {old}, becomes {new}{over}"
    elif over:
        yield f"{name}{over}"
    if "paused" in change.columns:
        yield f"{name} is {'paused' if change.becomes('paused') else 'resumed'}"


def _of_attempt(change: Change) -> Iterator[str]:
    if change.id is None:
        only = change.becomes("only")
        yield f"stage {change.stage}: an attempt is queued{': ' + _ONLY[only] if only else ''}"
    elif "state" in change.columns:
        was = change.columns["state"][0]
        yield f"attempt {change.id} of {change.stage} is {'taken away' if was == 'running' else 'withdrawn'}"


def _of_ask(ask: Ask) -> str:
    name = f"attempt {ask.attempt} of {ask.stage}"
    if ask.what == "pause":
        return f"{name} is asked for a savepoint"
    return f"{name} is asked to stop: {_ENDS[ask.what]}"


def _of_extra(extra: Extra) -> str:
    match extra:
        case Named():
            count = f"{len(extra.nodes)} node{'s' if len(extra.nodes) != 1 else ''}"
            return f"node {extra.node}: its stage {extra.stage!r} ({count})"
        case RowsAgain():
            bound = "at least " if extra.at_least else ""
            return f"{extra.node}: {bound}{extra.rows:,} rows come a second time"
        case Remark():
            return f"stage {extra.stage}: {extra.text}" if extra.stage else extra.text
