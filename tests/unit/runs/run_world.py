"""A run in memory: the store's part of it, written down once more around the pure decisions.

Every event gives a new world, so that a search can go every way from each. `check` says what must hold of
each of them. The pieces that are no pure function (who ends a run, what a verb writes beside a running
attempt) are methods, so that a test can seed the bugs of those, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Any, Literal, NamedTuple, TypeAlias

from orchestrator.dag.stages import StageGraph
from orchestrator.runs import advance as pure
from orchestrator.runs import ending
from orchestrator.runs.order import Only
from orchestrator.runs.states import (
    RUN_ENDS,
    STAGE_ENDS,
    Outcome,
    RunState,
    StageState,
    StopAs,
    may_follow,
)
from tests.unit.runs.run_model import may_run, standing

NONE, QUEUED, RUNNING = StageState.NONE, StageState.QUEUED, StageState.RUNNING
SUCCESS, FAILED, CANCELLED = StageState.SUCCESS, StageState.FAILED, StageState.CANCELLED

Event: TypeAlias = tuple[Any, ...]
"""The name of a method of `World`, and its arguments."""

VERBS = ("cancel", "clear", "clear_all", "retry", "mark", "pause", "resume", "abandon")


class Row(NamedTuple):
    """A stage run with its open attempt.

    `asked`: what the last verb wanted of the running attempt, known to this model alone. `ran`: the stage was
    claimed in this start. `zombie`: a lost attempt of it lives on. `owed`: an epoch is decided, and not
    applied. `only`: what its open attempt is restricted to.
    """

    state: StageState = NONE
    waiting: int = 0
    attempt: Literal["", "queued", "running"] = ""
    stop_as: StopAs | None = None
    asked: StopAs | None = None
    choice: Any = None
    ran: bool = False
    marked: bool = False
    zombie: bool = False
    owed: bool = False
    only: Only | None = None
    unresolved: bool = False
    abandoning: bool = False
    tries: int = 0
    losses: int = 0


@dataclass(frozen=True)
class World:
    """A run that was promoted. `verbs` counts those used on it; with `epochs`, attempts decide some."""

    stages: StageGraph
    rows: tuple[Row, ...]
    state: RunState = RunState.RUNNING
    cause: str | None = None
    paused: bool = False
    verbs: int = 0
    epochs: bool = False

    @classmethod
    def begin(cls, stages: StageGraph, epochs: bool = False) -> World:
        rows = tuple(Row(waiting=len(stage.up)) for stage in stages)
        return cls(stages, rows, epochs=epochs)._advance(pure.graph_order(stages))

    # What happens to attempts.

    def claim(self, stage: str) -> World:
        return self._set(stage, state=RUNNING, attempt="running", ran=True)

    def decide(self, stage: str) -> World:
        return self._set(stage, owed=True)

    def apply(self, stage: str) -> World:
        return self._set(stage, owed=False, unresolved=False)

    def finish(self, stage: str, outcome: Outcome, choice: Any = None) -> World:
        """The running attempt ends, with all that follows (rule 8.3)."""
        if self[stage].only == "abandon" and outcome == Outcome.SUCCESS:
            return self._set(stage, owed=False, abandoning=False)._finish(stage, outcome, choice)
        return self._finish(stage, outcome, choice)

    def _finish(self, stage: str, outcome: Outcome, choice: Any) -> World:
        row = self[stage]
        found = ending.fate(
            ending.Situation(
                outcome=outcome,
                stage=self.stages[stage],
                only=row.only,
                stop_as=row.stop_as,
                owed=row.owed,
                open_run=self.state not in RUN_ENDS and self.cause is None,
                tries=row.tries,
                losses=row.losses,
            )
        )
        now = self._set(stage, attempt="", asked=None, only=None)
        match found:
            case ending.End(state, unresolved):
                made = choice if state == SUCCESS and row.stop_as is None else None
                now = now._set(stage, unresolved=unresolved)._end(stage, state, made)
            case ending.Again(_, only, stop_as, tries, losses):
                again = {"only": only, "stop_as": stop_as, "tries": tries, "losses": losses}
                asked = row.asked if stop_as is not None else None
                return now._set(stage, state=QUEUED, attempt="queued", asked=asked, **again)
            case ending.Clear():
                now = now._start_over(stage)._recount()._advance([stage])
        ended = str(now[stage].state)
        obeyed = not now[stage].ran if row.asked == StopAs.CLEARED else ended == row.asked
        assert row.asked is None or obeyed or now[stage].unresolved, f"{stage}: {row.asked} was forgotten"
        return now

    def lose(self, stage: str) -> World:
        """The worker is taken for dead; its process lives on."""
        return self.finish(stage, Outcome.LOST)._set(stage, zombie=True)

    def late(self, stage: str, outcome: Outcome) -> World:
        """An attempt that was taken away reports its end: it bounces."""
        return self._set(stage, zombie=False)

    # What people do.

    def cancel(self) -> World:
        now = replace(self, cause="user")
        for stage, row in self._named():
            if row.attempt and not self._must_wait(stage):
                now = now._set(stage, state=CANCELLED, attempt="")
            elif row.attempt:
                now = now._ask(stage, StopAs.CANCELLED)
        return now._settle()

    def clear(self, stage: str) -> World:
        return self._cleared(stage)._settle()

    def clear_all(self) -> World:
        now = self
        for stage in self.stages.stages:
            now = now._cleared(stage)
        return now._settle()

    def retry(self) -> World:
        failed = {stage for stage, row in self._named() if row.state in (FAILED, CANCELLED)}
        later = pure.below(self.stages, failed)
        fresh = {"tries": 0, "losses": 0, "stop_as": None, "marked": False}
        now = self
        for stage in failed:
            row = self[stage]
            if not row.ran or (stage in later and not row.owed):
                now = now._set(stage, state=NONE, ran=False, **fresh)
            else:
                only, end = ("abandon", StopAs.FAILED) if row.abandoning else (None, None)
                now = now._set(stage, **{**fresh, "stop_as": end}, only=only)._queue(stage)
        return now._settle()

    def mark(self, stage: str, state: StageState) -> World:
        if self._must_wait(stage):
            return self._ask(stage, StopAs(state.value))
        return self._set(stage, state=state, attempt="", marked=True)._settle()

    def abandon(self) -> World:
        now = self
        for stage in self._to_abandon():
            now = now._set(stage, only="abandon", stop_as=StopAs.FAILED, abandoning=True)._queue(stage)
        return now._settle()

    def pause(self) -> World:
        return replace(self, paused=True)

    def resume(self) -> World:
        return replace(self, paused=False)

    # What can happen next.

    def attempts(self) -> Iterator[Event]:
        """Every claim, and all that a running attempt can do."""
        for stage, row in self._named():
            kept = self.paused and row.only is None
            if row.attempt == "queued" and self.state == RunState.RUNNING and not kept:
                yield "claim", stage
            if row.attempt == "running":
                yield "finish", stage, Outcome.FAILED
                yield from self._work(stage, row)

    def _work(self, stage: str, row: Row) -> Iterator[Event]:
        if row.owed and row.only != "abandon":
            yield "apply", stage
        else:
            for choice in self._choices(stage):
                yield "finish", stage, Outcome.SUCCESS, choice
        if self.epochs and not row.owed and row.only is None:
            yield "decide", stage
        if row.only is None and (row.stop_as is not None or self.paused):
            yield "finish", stage, Outcome.CANCELLED if row.stop_as else Outcome.PAUSED

    def deaths(self) -> Iterator[Event]:
        """Every loss, and every late word of a lost attempt."""
        for stage, row in self._named():
            if row.attempt == "running" and not row.zombie:
                yield "lose", stage
            if row.zombie:
                yield "late", stage, Outcome.SUCCESS
                yield "late", stage, Outcome.FAILED

    def possible_verbs(self) -> Iterator[Event]:
        """Every verb that would not be refused."""
        if self.state not in RUN_ENDS:
            yield ("resume",) if self.paused else ("pause",)
            if self.cause is None:
                yield ("cancel",)
        if self.cause is None or self.state in RUN_ENDS:
            yield ("retry",)
        if any(True for _ in self._to_abandon()):
            yield ("abandon",)
        free = [stage for stage, row in self._named() if not self._is_bound(row)]
        if len(free) == len(self.rows):
            yield ("clear_all",)
        for stage in free:
            if self[stage].state != NONE:
                yield "clear", stage
            yield from (("mark", stage, state) for state in (SUCCESS, FAILED) if self[stage].state != state)

    def after(self, event: Event) -> World:
        name, *arguments = event
        now: World = getattr(self, name)(*arguments)
        return replace(now, verbs=now.verbs + 1) if name in VERBS else now

    # What must hold.

    def check(self) -> None:
        """Assert what holds after every event."""
        states, choices = self.states, self.choices
        is_open = any(state not in STAGE_ENDS for state in states.values())
        assert is_open == (self.state not in RUN_ENDS), "a run ends with its last open stage, and not before"
        for stage, row in self._named():
            fitting = str(row.state) if row.state in (QUEUED, RUNNING) else ""
            assert row.attempt == fitting, f"{stage} is {row.state}, its attempt {row.attempt!r}"
            assert row.waiting >= pure.waiting_of(self.stages, states, stage), f"{stage}: waiting is too low"
            if self.cause is not None:
                assert row.state != NONE, f"{stage}: a cancel left it open"
            assert not row.owed or row.attempt or row.unresolved, f"{stage}: ended, and an epoch is owed"
            assert not row.unresolved or row.owed, f"{stage}: unresolved, and nothing is owed"
            if self.cause is None and not row.ran and not row.marked:
                assert row.state == standing(self.stages, states, choices, stage), f"{stage}: stands wrong"
        if is_open:
            assert any(row.attempt for row in self.rows), "nothing is left that could end: the run is stuck"
        else:
            assert self.state == pure.result(self.stages, states, self.cause)
            if not self.verbs:
                ran = [stage for stage, row in self._named() if row.ran]
                assert all(may_run(self.stages, states, choices, stage) for stage in ran), "ran, and must not"

    @property
    def states(self) -> dict[str, StageState]:
        return {stage: row.state for stage, row in self._named()}

    @property
    def choices(self) -> dict[str, Any]:
        return {stage: row.choice for stage, row in self._named() if row.choice is not None}

    def __getitem__(self, stage: str) -> Row:
        return self.rows[list(self.stages.stages).index(stage)]

    def key(self) -> tuple[Any, ...]:
        """What two worlds have in common that are one."""
        return self.rows, self.state, self.cause, self.paused, self.verbs

    # The store's part.

    def _advance(self, candidates: Iterable[str]) -> World:
        if self.state != RunState.RUNNING:
            return self
        steps = pure.advance(
            self.stages, self.states, candidates, choices=self.choices, cancel_cause=self.cause
        )
        return self._write(steps)._end_run()

    def _write(self, steps: Iterable[pure.Step]) -> World:
        now = self
        for step in steps:
            row = now[step.stage]
            match step:
                case pure.QueueStage(stage):
                    assert row.state == NONE, f"{stage}: decided twice"
                    now = now._set(stage, state=QUEUED, attempt="queued")
                case pure.EndStage(stage, state):
                    assert row.state == NONE, f"{stage}: decided twice"
                    now = now._set(stage, state=state)._lower(stage)
                case pure.ResetStage(stage):
                    now = now._set(stage, state=NONE, attempt="")
        return now

    def _end(self, stage: str, state: StageState, choice: Any) -> World:
        marked = self[stage].stop_as in (StopAs.SUCCESS, StopAs.FAILED)
        now = self._set(stage, state=state, choice=choice, stop_as=None, marked=marked)._lower(stage)
        waiting = {child: now[child].waiting for child in self.stages[stage].down}
        return now._advance(pure.candidates_after(self.stages, stage, state, waiting))

    def _end_run(self) -> World:
        states = self.states
        if not self._is_over(states):
            return self
        return replace(self, state=pure.result(self.stages, states, self.cause))

    def _is_over(self, states: pure.States) -> bool:
        return all(state in STAGE_ENDS for state in states.values())

    def _settle(self) -> World:
        now = self._recount()
        ran = {stage for stage, row in now._named() if row.ran}
        if now.state in RUN_ENDS and not now._is_over(now.states):
            now = replace(now, state=RunState.RUNNING, cause=None)
        steps = pure.rejudge(now.stages, now.states, ran, choices=now.choices, cancel_cause=now.cause)
        now = now._write(steps)._recount()
        if now.state in RUN_ENDS and not now._is_over(now.states):
            now = replace(now, state=RunState.RUNNING, cause=None)
        return now._end_run()

    def _recount(self) -> World:
        now = self
        for stage in self.stages.stages:
            now = now._set(stage, waiting=pure.waiting_of(self.stages, self.states, stage))
        return now

    def _lower(self, stage: str) -> World:
        now = self
        for child in self.stages[stage].down:
            now = now._set(child, waiting=max(0, now[child].waiting - 1))
        return now

    def _cleared(self, stage: str) -> World:
        return self._ask(stage, StopAs.CLEARED) if self._must_wait(stage) else self._start_over(stage)

    def _start_over(self, stage: str) -> World:
        return self._set(stage, **Row(waiting=self[stage].waiting, zombie=self[stage].zombie)._asdict())

    def _must_wait(self, stage: str) -> bool:
        """Whether an end that a verb wants is kept: for what runs, or has to apply what it owes first."""
        row = self[stage]
        return row.attempt == "running" or (row.attempt == "queued" and row.owed)

    def _ask(self, stage: str, stop_as: StopAs) -> World:
        row = self[stage]
        if row.abandoning:
            return self
        now = self._set(stage, stop_as=stop_as, asked=stop_as)
        return now if row.attempt == "running" else now._set(stage, only="apply")

    def _queue(self, stage: str) -> World:
        return self._set(stage, state=QUEUED, attempt="queued")

    def _is_bound(self, row: Row) -> bool:
        """Whether verbs but retry and abandon are refused: it ended and owes, or gives up."""
        return row.abandoning or (row.owed and not row.attempt)

    def _to_abandon(self) -> Iterator[str]:
        return (stage for stage, row in self._named() if row.unresolved and row.attempt != "running")

    def _choices(self, stage: str) -> list[Any]:
        """What a success of the stage may have stored."""
        match self.stages[stage].branch:
            case None:
                return [None]
            case "branch":
                down = self.stages[stage].down
                subsets = chain.from_iterable(combinations(down, size) for size in range(len(down) + 1))
                return [tuple(chosen) for chosen in subsets]
            case _:
                return [True, False]

    def _named(self) -> Iterator[tuple[str, Row]]:
        return zip(self.stages.stages, self.rows, strict=True)

    def _set(self, stage: str, **values: Any) -> World:
        index = list(self.stages.stages).index(stage)
        old, row = self.rows[index], self.rows[index]._replace(**values)
        legal = old.state == row.state or may_follow(old.state, row.state)
        assert legal, f"{stage}: {row.state} may not follow {old.state}"
        return replace(self, rows=(*self.rows[:index], row, *self.rows[index + 1 :]))
