"""When a DAG's schedule fires, and which run it makes (rule 11). Pure: a function of what is known and now.

A schedule is due from its `next_fire_at` on. Who finds it so asks `decide`, and in one transaction compares
and sets `next_fire_at` and inserts the run; so any number of schedulers may ask at once, and one of them does
it. A logical date that has a scheduled or backfill run gets no second one: the schedule just moves on.

- With `catchup` each missed tick fires, one a decision, oldest first. Without it the newest fires and those
  before it are passed over; once a tick has come that `end_date` forbids, the last it allows is too old.
- A paused schedule does nothing. When the pause is lifted, what came due meanwhile is missed like any other.
- What has never fired and has no `start_date` has missed nothing: it counts from when it was loaded, or from
  when its pause was lifted.
- `max_active_runs` holds back the tick, not the run: no runs pile up behind a slow one.

It follows `next_dagrun_info` of Airflow 3's timetables; docs/scheduling.md lists what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.dag.timetable import Timetable

BREATH = timedelta(seconds=1)
"""Between two fire times of `@continuous`: runs that fail at once would else follow without a pause."""


@dataclass(frozen=True)
class Tick:
    """A time at which a DAG fires, and what the run of it covers. Moments are in UTC."""

    fire_time: datetime
    logical_date: datetime
    interval: tuple[datetime, datetime]


@dataclass(frozen=True)
class ScheduleFacts:
    """What is known of a DAG's schedule. `timetable` holds its zone, `start_date` and `end_date`.

    `next_fire_at` is what `plan` or the last decision said, None when nothing will fire; `last_fire_at` the
    last tick that fired. `active`: how many of its runs are queued or running, apart from those of backfills
    and those that a command holds.
    """

    timetable: Timetable
    catchup: bool = False
    paused: bool = False
    next_fire_at: datetime | None = None
    last_fire_at: datetime | None = None
    active: int = 0
    max_active_runs: int = 16

    @property
    def full(self) -> bool:
        """Whether the next run has to wait for one that is active."""
        return self.active >= self.most

    @property
    def most(self) -> int:
        """How many may be active. A run of `@continuous` waits for all others."""
        return 1 if self.timetable.continuous else self.max_active_runs

    def after(self, firing: Firing) -> ScheduleFacts:
        """What is known once a decision has been carried out."""
        return replace(
            self,
            next_fire_at=firing.next_fire_at,
            last_fire_at=firing.tick.fire_time if firing.tick else self.last_fire_at,
            active=self.active + (firing.tick is not None),
        )


@dataclass(frozen=True)
class Firing:
    """What a decision does: the run of `tick`, if any, and the schedule's new `next_fire_at`.

    `missed_since`: the first of the ticks that were passed over; None where none was.
    """

    tick: Tick | None
    next_fire_at: datetime | None
    missed_since: datetime | None = None


def plan(facts: ScheduleFacts, now: datetime) -> datetime | None:
    """The `next_fire_at` of a schedule that is new, has changed, or whose pause is being lifted.

    For the last, ask while the facts still say `paused`. Who asks although nothing changed loses nothing.
    """
    first = _first_not_fired(facts, now)
    if first is None or first > now or _each_counts(facts):
        return first
    return facts.timetable.newest_at(now)


def decide(facts: ScheduleFacts, now: datetime) -> Firing | None:
    """What the schedule does now; None where it is not due, paused, over or has no room.

    A `next_fire_at` that is no fire time fires nothing and is planned again: the rules of its zone changed.
    """
    due = facts.next_fire_at
    if due is None or due > now or facts.paused or facts.full:
        return None
    if facts.timetable.first_from(due) != due:
        return Firing(None, plan(facts, now))
    fire = due if _each_counts(facts) else facts.timetable.newest_at(now)
    if fire is None:
        return Firing(None, None, missed_since=due)
    missed = due if due < fire and not facts.timetable.continuous else None
    return Firing(_tick(facts, fire), _next(facts.timetable, fire), missed)


def upcoming(facts: ScheduleFacts, now: datetime) -> Iterator[Tick]:
    """The ticks that will fire from now on, the first of a paused DAG as if its pause were lifted now.

    Without end where the schedule has none. Of `@continuous` only the next: the others wait for runs.
    """
    next_fire_at = plan(facts, now) if facts.paused else facts.next_fire_at
    facts = replace(facts, paused=False, next_fire_at=next_fire_at)
    while facts.next_fire_at is not None:
        now = max(now, facts.next_fire_at)
        firing = decide(replace(facts, active=0, max_active_runs=1), now)
        assert firing is not None
        if firing.tick is not None:
            yield firing.tick
        if facts.timetable.continuous:
            return
        facts = facts.after(firing)


def _first_not_fired(facts: ScheduleFacts, now: datetime) -> datetime | None:
    timetable = facts.timetable
    if facts.last_fire_at is not None:  # later than now where the clock was once ahead
        return None if timetable.once else _next(timetable, min(facts.last_fire_at, now))
    if timetable.start is not None:
        return timetable.first_from(timetable.start)
    waited = now if facts.paused or facts.next_fire_at is None else min(facts.next_fire_at, now)
    return timetable.first_from(waited)


def _next(timetable: Timetable, fire: datetime) -> datetime | None:
    """The fire time that follows."""
    return timetable.first_from(fire + BREATH) if timetable.continuous else timetable.next_after(fire)


def _each_counts(facts: ScheduleFacts) -> bool:
    """Whether the oldest tick that is due fires, and not the newest."""
    return (facts.catchup and not facts.timetable.continuous) or facts.timetable.once


def _tick(facts: ScheduleFacts, fire: datetime) -> Tick:
    timetable = facts.timetable
    if timetable.continuous:  # covers what its last run has not: only the facts know since when
        return Tick(fire, fire, (facts.last_fire_at or timetable.start or fire, fire))
    return Tick(fire, timetable.logical_date_of(fire), timetable.interval_of(fire))
