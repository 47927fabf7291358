"""Schedulers that are killed with -9 while DAGs fire each second, and what must be true afterwards.

They are killed at random times and, what random times seldom hit, at the crash points of firing.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from time import monotonic

from orchestrator.store.tables import Dag, Run
from orchestrator.store.tables.services import Schedule
from tests.protocol.names import FIRING_STEPS
from tests.support.services_site import ServicesSite
from tests.support.site import WorkerProcess

SECOND = timedelta(seconds=1)
NOT_PAUSED = {"FUSTGO_BUNDLE__PAUSE_NEW_DAGS": "false"}


def write_each_second(place: ServicesSite, number: int) -> None:
    """Files of so many DAGs that are due each second and miss none."""
    node = {"id": "work", "type": "bash", "kind": "action", "config": {"command": "true"}}
    for index in range(number):
        header = {"id": f"second{index}", "schedule": "1s", "catchup": True, "max_active_runs": 100}
        file = place.project / "dags" / f"second{index}.json"
        file.write_text(json.dumps({**header, "nodes": [node]}))


@dataclass
class Told:
    """What happened. Delays are in seconds, from due to created."""

    ticks: int = 0
    kills: int = 0
    crashes: int = 0
    delays: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        middle = sorted(self.delays)[len(self.delays) // 2] if self.delays else 0.0
        return (
            f"{self.ticks} ticks, {self.kills} kills at random and {self.crashes} at a crash point;"
            f" {len(self.wrong)} wrong; from due to fired"
            f" {1000 * middle:.0f} ms in the middle, {max(self.delays, default=0.0):.1f} s at worst"
        )


class FiringChaos:
    """Two schedulers of one store, one of which is killed again and again."""

    def __init__(
        self, place: ServicesSite, *, seconds: float, away: tuple[float, float], seed: int = 1
    ) -> None:
        self.place, self.seconds, self.away = place, seconds, away
        self.chance, self.pause = random.Random(seed), Event()
        self.told = Told()
        self._alive: list[WorkerProcess] = []
        self._armed: dict[int, str] = {}  # by pid

    def run(self) -> Told:
        """Let DAGs fire for so long, and judge when all that was due has fired."""
        self._alive = [self._start() for _ in range(2)]
        self.place.until(self._fires, "the first tick of each DAG")
        end = monotonic() + self.seconds
        while monotonic() < end:
            self._replace(self._victim())
        stop = self.place.database.clock.now()
        self._alive.append(self.place.scheduler())
        self.place.until(lambda: self._has_fired(stop), "the last tick of each DAG")
        for scheduler in self._alive:
            self.place.kill(scheduler)
        self._judge(stop)
        return self.told

    def _start(self, arm: str = "") -> WorkerProcess:
        """A scheduler that dies at a crash point, where one is armed."""
        before = f"from orchestrator import crash; crash.arm({arm!r})" if arm else ""
        started = self.place.service("scheduler", before=before)
        self._armed[started.process.pid] = arm
        return started

    def _victim(self) -> int:
        """One of them; one that has died by itself first, so that the other is not alone for long."""
        dead = [index for index, scheduler in enumerate(self._alive) if scheduler.process.poll() is not None]
        return dead[0] if dead else self.chance.randrange(len(self._alive))

    def _replace(self, index: int) -> None:
        """Kill one, or let it die where it is bound to; start another, perhaps after a while."""
        victim = self._alive[index]
        with suppress(subprocess.TimeoutExpired):
            victim.process.wait(4 if self._armed[victim.process.pid] else self.chance.uniform(*self.away))
        if victim.process.poll() is None:
            self.told.kills += 1
        else:
            self.told.crashes += 1
        self.place.kill(victim)
        self.pause.wait(self.chance.uniform(0, 0.5))
        arm = f"{self.chance.choice(FIRING_STEPS)}@{self.chance.randint(1, 12)}"
        is_other_armed = self._armed[self._alive[1 - index].process.pid]
        self._alive[index] = self._start("" if is_other_armed else self.chance.choice(("", arm)))

    def _fires(self) -> bool:
        rows, files = self.place.table(Schedule), len([*(self.place.project / "dags").iterdir()])
        return len(rows) == files and all(row.last_fire_at is not None for row in rows)

    def _has_fired(self, stop: datetime) -> bool:
        return all(
            row.last_fire_at is not None and row.last_fire_at >= stop for row in self.place.table(Schedule)
        )

    def _judge(self, stop: datetime) -> None:
        names = {dag.id: dag.dag_id for dag in self.place.table(Dag)}
        runs: dict[int, list[Run]] = {dag: [] for dag in names}
        for run in self.place.table(Run):
            runs[run.dag].append(run)
        for dag, name in names.items():
            self.told.ticks += len(runs[dag])
            self.told.wrong += _wrong(name, [run.logical_date for run in runs[dag] if run.logical_date], stop)
        self.told.delays = [seconds_late(run) for found in runs.values() for run in found]


def _wrong(name: str, dates: list[datetime], stop: datetime) -> Iterable[str]:
    """What is twice or missing from the first tick to the last that was due."""
    twice = [date for date, count in Counter(dates).items() if count > 1]
    number = int((max([*dates, stop]) - min(dates, default=stop)) / SECOND)
    missing = {min(dates, default=stop) + n * SECOND for n in range(number + 1)} - {*dates}
    for what, found in (("twice", twice), ("missing", sorted(missing))):
        if found:
            yield f"{name}: {len(found)} {what}, {found[0].isoformat()} first"


def seconds_late(run: Run) -> float:
    """From due to created."""
    assert run.due_at is not None
    return (run.created_at - run.due_at).total_seconds()
