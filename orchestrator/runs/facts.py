"""What must be known of a run, its stages and all that works, to say why something waits (`runs.why`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from orchestrator.runs.order import Only
from orchestrator.runs.states import Outcome, RunState, StageState, StopAs


@dataclass(frozen=True)
class Worker:
    """A process that executes. `standing`: `online`, `draining`, `offline` or `ended`."""

    id: int
    kind: str
    host: str
    pid: int
    labels: tuple[str, ...] = ()
    slots: int = 1
    running: int = 0
    standing: str = "online"

    def __str__(self) -> str:
        return f"{self.kind} {self.id} (process {self.pid} on {self.host})"


@dataclass(frozen=True)
class Taken:
    """An attempt that runs, or is queued, with the slots of its pool that it takes."""

    attempt: int
    run: int
    stage: str
    slots: int = 1
    pool: str = "default"
    lane: str = "live"
    worker: Worker | None = None

    def __str__(self) -> str:
        return f"{self.stage} of run {self.run}"


@dataclass(frozen=True)
class Run:
    """The run. `active` are the runs that hold the places of its DAG (or backfill), `before` those queued
    earlier; a paused backfill has no places. `schedulers` are those that are online. `holder` is the command
    that executes it, of `file`. `due`: when its schedule was to fire it; `late`: nothing had started in time.
    """

    number: int
    dag: str
    state: RunState
    paused: bool = False
    cancel_cause: str | None = None
    lane: str = "live"
    due: datetime | None = None
    late: bool = False
    holder: Worker | None = None
    file: str = ""
    places: int = 1
    active: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    schedulers: tuple[Worker, ...] = ()


@dataclass(frozen=True)
class Queued:
    """A queued attempt. `after`: how the one before it ended. `place`: where it stands in `Facts.due`."""

    attempt: int
    due: datetime
    only: Only | None = None
    after: Outcome | None = None
    place: int = 0


@dataclass(frozen=True)
class Stage:
    """A stage of the run. `open_upstreams` and `open_branches` have not ended; `label` is what its worker
    must offer.
    """

    id: str
    state: StageState
    paused: bool = False
    unresolved: bool = False
    abandoning: bool = False
    stop_as: StopAs | None = None
    open_upstreams: Mapping[str, StageState] = field(default_factory=dict)
    open_branches: Mapping[str, StageState] = field(default_factory=dict)
    label: str | None = None
    pool: str = "default"
    slots: int = 1
    tries: int = 0
    retries: int = 0
    queued: Queued | None = None
    running: Taken | None = None


@dataclass(frozen=True)
class Facts:
    """One moment. `pools` are sizes, `taken` running attempts of all runs, `of_dag` those of this DAG, and
    `due` the queued ones that only pools and workers keep, in the order of choice.
    """

    now: datetime
    run: Run
    stages: tuple[Stage, ...] = ()
    workers: tuple[Worker, ...] = ()
    pools: Mapping[str, int] = field(default_factory=dict)
    taken: tuple[Taken, ...] = ()
    of_dag: tuple[Taken, ...] = ()
    most_of_dag: int = 16
    due: tuple[Taken, ...] = ()

    @cached_property
    def closed(self) -> dict[str, int]:
        """The first of `due` that does not fit its pool, by pool: nothing overtakes it there (rule 9.2)."""
        free = {pool: self.free(pool) for pool in self.pools}
        closed: dict[str, int] = {}
        for place, one in enumerate(self.due):
            if one.pool in free and one.pool not in closed:
                free[one.pool] -= one.slots
                if free[one.pool] < 0:
                    closed[one.pool] = place
        return closed

    @cached_property
    def live(self) -> int:
        """How many of `due` belong to live runs: they come first."""
        return sum(one.lane == "live" for one in self.due)

    def free(self, pool: str) -> int:
        """Slots of a pool that no running attempt has; below 0 where it was made smaller."""
        return self.pools[pool] - sum(one.slots for one in self.taken if one.pool == pool)
