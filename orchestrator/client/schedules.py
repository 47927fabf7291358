"""What people see of schedules and do to them: pausing, unpausing, and what fires next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from orchestrator.client.surface import Surface
from orchestrator.runs.firing import ScheduleFacts, Tick, upcoming
from orchestrator.store import dag_views, schedules
from orchestrator.store.dag_views import DagView
from orchestrator.store.tables.services import Bundle
from orchestrator.store.verbs.dag_pausing import DagPause, set_paused


class Outlook(StrEnum):
    """Whether the schedule of a DAG fires, and if not, why."""

    FIRES = "fires"
    PAUSED = "paused"
    HELD_BACK = "held_back"  # as many runs are active as may be
    OVER = "over"
    REMOVED = "removed"
    UNSCHEDULED = "unscheduled"


@dataclass(frozen=True)
class NextRuns:
    """The runs that a schedule will make: of a paused DAG those that it would make if it were unpaused now.

    `active` counts its runs that hold the next one back where there are `most` of them.
    """

    view: DagView
    firing: Outlook
    ticks: tuple[Tick, ...]
    active: int
    most: int


@dataclass(frozen=True)
class Schedules(Surface):
    """The schedules of loaded DAGs. A verb says what it did, with `dry_run` only what it would do."""

    def pause_dag(self, dag: str, *, dry_run: bool = False) -> DagPause:
        """Stop the schedule of a DAG and nothing else: its runs go on, and it can be triggered."""
        return set_paused(self.database, dag, True, actor=self.actor, dry_run=dry_run)

    def unpause_dag(self, dag: str, *, dry_run: bool = False) -> DagPause:
        """Have the schedule of a DAG fire again; of what it missed, what its `catchup` says."""
        return set_paused(self.database, dag, False, actor=self.actor, dry_run=dry_run)

    def next_runs(self, dag: str, count: int = 5) -> NextRuns:
        """The next runs that a DAG's schedule makes; raises UsageError where there is no such DAG."""
        with self.database.read() as connection:
            view = dag_views.find_dag(connection, dag)
            facts = schedules.facts_of(connection, view.dag)
        if facts is None or not facts.timetable.fires:
            return NextRuns(view, Outlook.UNSCHEDULED, (), 0, view.dag.max_active_runs)
        if view.dag.removed_at is not None:
            return NextRuns(view, Outlook.REMOVED, (), facts.active, facts.most)
        ticks = tuple(islice(upcoming(facts, self.clock.now()), count))
        return NextRuns(view, _firing(facts, ticks), ticks, facts.active, facts.most)

    def list_bundles(self) -> list[Bundle]:
        """Where the services load DAGs from; `error` of one says why its newest state cannot be read."""
        with self.database.read() as connection:
            return dag_views.list_bundles(connection)


def _firing(facts: ScheduleFacts, ticks: tuple[Tick, ...]) -> Outlook:
    if not ticks:
        return Outlook.OVER
    if facts.paused:
        return Outlook.PAUSED
    return Outlook.HELD_BACK if facts.full else Outlook.FIRES
