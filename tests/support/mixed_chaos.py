"""Mixed runs while their schedulers, workers and runners are killed with -9 and started again.

Workers are stopped too and go on later, some when they have been taken for dead. Who, when, and how long it
stays away is drawn from a seed. Where the store is a server, one worker
takes itself for one of another host: that it died is seen by its silence alone.
"""

from __future__ import annotations

import math
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic, time
from typing import TypeAlias

from sqlalchemy import func, select

from orchestrator.runs.states import Outcome
from orchestrator.store import checks, processes, runs
from orchestrator.store.tables import Attempt, StageRun, Worker, table_of
from orchestrator.store.tables.services import Runner
from tests.support import mixed_ends
from tests.support.services_site import ServicesSite
from tests.support.site import WorkerProcess

ELSEWHERE = "import socket; socket.gethostname = lambda: 'elsewhere'"
MOST_LOSSES = 3  # who is killed more often is taken for the cause: it is spared
DAGS_FILE = Path(__file__).parent / "mixed_dags.py"
_stages, _attempts, _workers = table_of(StageRun), table_of(Attempt), table_of(Worker)


Span: TypeAlias = tuple[float, float]


def longest_up(spans: Iterable[Span], begin: float, end: float) -> float:
    """The longest that any one of these was up between two times."""
    return max(0.0, *(min(end, last) - max(begin, first) for first, last in spans), 0.0)


@dataclass(frozen=True)
class Plan:
    """How many runs, which processes, and the shortest and longest times between two blows and of a stop (in
    seconds; one of more than a lease is found out)."""

    runs: int
    blows: int
    between: tuple[float, float]
    stops: tuple[float, float]
    seed: int = 1
    schedulers: int = 2
    workers: int = 2
    elsewhere: bool = False
    patience: float = 900.0


@dataclass(frozen=True)
class Gap:
    """What a death cost a stage: when its attempt died, was found lost, and another was claimed.

    `served` is the longest that any one scheduler was up until it was found: one that is new begins anew with
    watching who is silent. `worked` is the longest that any one worker was up from then until it was claimed.
    """

    elsewhere: bool
    died: float
    found: float
    again: float
    served: float
    worked: float


@dataclass(frozen=True)
class Told:
    """What happened."""

    seconds: float
    blows: Counter[str]
    counts: dict[str, int]
    gaps: list[Gap]
    longest_still: float
    wrong: list[str]

    @property
    def longest(self) -> float:
        """The most seconds that a stage did not run again though a scheduler, then a worker, was up."""
        return max((gap.served + gap.worked for gap in self.gaps), default=0.0)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.blows.items()))
        made = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        lines = [
            f"{made} in {self.seconds:.0f} s; blows: {kinds}",
            f"  {len(self.gaps)} attempts lost; {len(self.wrong)} wrong",
            f"  after a kill anything was claimed within {self.longest_still:.1f} s",
        ]
        for where, elsewhere in (("here", False), ("on another host", True)):
            if gaps := [gap for gap in self.gaps if gap.elsewhere == elsewhere]:
                lines.append(
                    f"  {len(gaps)} died {where}: found within {max(gap.served for gap in gaps):.1f} s of a "
                    f"scheduler being up, claimed within {max(gap.worked for gap in gaps):.1f} s of a worker "
                    f"being up, both within {max(gap.served + gap.worked for gap in gaps):.1f} s"
                )
        return "\n".join(lines)


class Chaos:
    """Runs of one installation, and the blows that it gets."""

    def __init__(self, place: ServicesSite, plan: Plan) -> None:
        self.place, self.plan = place, plan
        self.chance = random.Random(plan.seed)
        self.given: dict[int, str] = {}
        self.blows: Counter[str] = Counter()
        self.times: list[float] = []
        self._again: list[tuple[float, str, bool]] = []
        self._alive: dict[str, list[WorkerProcess]] = {"scheduler": [], "worker": []}
        self._ready: dict[int, float] = {}  # when schedulers said that they serve, by pid
        self._deaths: dict[int, float] = {}
        self._stopped: list[tuple[float, WorkerProcess]] = []  # with when they go on
        self._silent: list[tuple[float, int]] = []  # since when which pid
        self._away: set[int] = set()  # pids of those that are elsewhere
        self._pause = Event()

    def run(self) -> Told:
        """Start all, let runs come and blows fall until the last run has ended, and judge."""
        began = monotonic()
        self._prepare()
        while monotonic() - began < self.plan.patience:
            self._bury()
            self._start_due()
            self._go_on(monotonic())
            self._note_ready()
            self._trigger_some()
            if len(self.given) == self.plan.runs and not self._unended():
                break
            if self.blows.total() < self.plan.blows:
                self._await_work()
                self._strike()
            self._pause.wait(self.chance.uniform(*self.plan.between))
        seconds = monotonic() - began
        self._end()
        return self._judged(seconds)

    def _end(self) -> None:
        """Let all say their last words, and drain the workers."""
        self._go_on(math.inf)
        self._bury()
        for served in self._alive["worker"]:
            served.end()

    def _prepare(self) -> None:
        folder = self.place.project
        shutil.copy(DAGS_FILE, folder / "dags" / "mixed.py")
        (folder / "people.csv").write_text(mixed_ends.people())
        (folder / "marks").mkdir()
        for number in range(self.plan.workers):
            self._start("worker", away=self.plan.elsewhere and number == 0)
        for _ in range(self.plan.schedulers):
            self._start("scheduler", away=False)
        for served in (*self._alive["worker"], *self._alive["scheduler"]):
            self.place.serving(served)

    def _start(self, kind: str, *, away: bool) -> None:
        served = self.place.service(kind, before=ELSEWHERE if away else "")
        self._alive[kind].append(served)
        if away:
            self._away.add(served.process.pid)

    def _start_due(self) -> None:
        due = [entry for entry in self._again if entry[0] <= monotonic()]
        self._again = [entry for entry in self._again if entry not in due]
        for _, kind, away in due:
            self._start(kind, away=away)

    def _go_on(self, until: float) -> None:
        """Let those go on whose time has come; a signal to who was killed meanwhile is none."""
        due = [entry for entry in self._stopped if entry[0] <= until]
        self._stopped = [entry for entry in self._stopped if entry not in due]
        for _, served in due:
            served.signal(signal.SIGCONT)

    def _bury(self) -> None:
        """Workers that others have killed: they were stopped inside a transaction."""
        for served in [one for one in self._alive["worker"] if one.process.poll() is not None]:
            assert served.process.returncode == -signal.SIGKILL, served.said.read_text()
            self._forget("worker", served)
            self.blows["stop in a transaction"] += 1

    def _trigger_some(self) -> None:
        """As many runs as blows have fallen in proportion; some are asked for twice, with one key."""
        share = (self.blows.total() + 1) / self.plan.blows
        for number in range(len(self.given) + 1, math.ceil(min(1.0, share) * self.plan.runs) + 1):
            dag = self.chance.choice(mixed_ends.DAGS)
            self.given[number] = dag
            for _ in range(self.chance.choice((1, 1, 2))):
                self.place.client.trigger(dag, params={"number": number}, key=f"chaos{number}")

    def _unended(self) -> bool:
        with self.place.database.read() as connection:
            return any(True for _ in runs.unended(connection))

    def _await_work(self) -> None:
        """Wait a little until somebody works, and a little more."""
        for _ in range(40):
            if self._busy():
                break
            self._pause.wait(0.05)
        self._pause.wait(self.chance.uniform(0.0, 0.1))

    def _busy(self) -> set[int]:
        """The pids of workers that run something."""
        query = select(_workers.c.pid).join(_attempts, _attempts.c.worker == _workers.c.id)
        with self.place.database.read() as connection:
            return set(connection.execute(query.where(_attempts.c.state == "running")).scalars())

    def _strike(self) -> None:
        blows = {"worker": 2, "runner": 2, "scheduler": 1, "stop": 1}
        (kind,) = self.chance.choices([*blows], [*blows.values()])
        who = "worker" if kind == "stop" else kind
        if self._is_weak() or not (who == "runner" or self._alive[who]):
            return
        if kind == "runner" and not self._kill_a_runner():
            return
        if kind == "stop":
            self._stop_a_worker()
        elif kind != "runner":
            self._kill_a_service(kind)
        self.times.append(time())
        self.blows[kind] += 1

    def _kill_a_service(self, kind: str) -> None:
        served = self._victim(kind)
        self._deaths[served.process.pid] = time()
        self.place.kill(served)
        self._forget(kind, served)

    def _stop_a_worker(self) -> None:
        served = self._victim("worker")
        self._silent.append((time(), served.process.pid))
        served.signal(signal.SIGSTOP)
        self._stopped.append((monotonic() + self.chance.uniform(*self.plan.stops), served))

    def _victim(self, kind: str) -> WorkerProcess:
        """One that works, rather."""
        living, busy = self._alive[kind], self._busy()
        return self.chance.choice([one for one in living if one.process.pid in busy] or living)

    def _forget(self, kind: str, served: WorkerProcess) -> None:
        """It is dead: another takes its place a little later."""
        self._alive[kind].remove(served)
        self._silent.append((self._deaths.setdefault(served.process.pid, time()), served.process.pid))
        away = served.process.pid in self._away
        self._again.append((monotonic() + self.chance.uniform(0.0, 2.0), kind, away))

    def _is_weak(self) -> bool:
        """Whether a stage would die for good of one loss more."""
        weak = (_stages.c.losses >= MOST_LOSSES) & _stages.c.state.in_(("queued", "running"))
        with self.place.database.read() as connection:
            return connection.execute(select(func.count()).where(weak)).scalar_one() > 0

    def _kill_a_runner(self) -> bool:
        living = [
            row
            for row in self.place.table(Runner)
            if row.ended_at is None and processes.start_time(row.pid) == row.start_time
        ]
        if living:
            victim = self.chance.choice(living)
            processes.kill(victim.pid, victim.start_time)
        return bool(living)

    def _judged(self, seconds: float) -> Told:
        gaps = list(self._gaps())
        with self.place.database.read() as connection:
            stuck = [f"run {run.number} is still {run.state}" for run in runs.unended(connection)]
        wrong = stuck or list(mixed_ends.wrong(self.place, self.given))
        with self.place.database.transaction() as connection:
            wrong += checks.check_runs(connection, self.place.database.clock.now())
        return Told(
            seconds=seconds,
            blows=self.blows,
            counts=mixed_ends.table_counts(self.place),
            gaps=gaps,
            longest_still=self._longest_still(),
            wrong=wrong,
        )

    def _gaps(self) -> Iterator[Gap]:
        workers = {row.id: row for row in self.place.table(Worker)}
        attempts = self.place.table(Attempt)
        for lost in attempts:
            if lost.outcome != Outcome.LOST:
                continue
            worker = workers[lost.worker]
            following = [a.claimed_at for a in attempts if a.stage_run == lost.stage_run and a.id > lost.id]
            found = died = lost.ended_at.timestamp()
            if lost.error["cause"] == "worker lost":
                since = [at for at, pid in self._silent if pid == worker.pid and at < found]
                died = max(since, default=found)  # without a blow: it was starved for a lease
            again = following[0].timestamp() if following and following[0] else time()
            served = longest_up(self._schedulers(), died, found)
            worked = longest_up(self._workers(workers.values()), found, again)
            yield Gap(worker.pid in self._away, died, found, again, served, worked)

    def _schedulers(self) -> Iterator[Span]:
        return ((ready, self._deaths.get(pid, math.inf)) for pid, ready in self._ready.items())

    def _workers(self, rows: Iterable[Worker]) -> Iterator[Span]:
        for row in rows:
            if row.kind == "worker":
                began = row.started_at.timestamp()
                ends = [at for at, pid in self._silent if pid == row.pid and at > began]
                yield began, min(ends, default=math.inf)

    def _note_ready(self) -> None:
        """Schedulers that serve by now: since they said so, or a little later."""
        for served in self._alive["scheduler"]:
            if served.process.pid not in self._ready and self.place.serves(served):
                self._ready[served.process.pid] = served.said.stat().st_mtime

    def _longest_still(self) -> float:
        """The longest time from a blow to the next claim of anything."""
        claims = sorted(a.claimed_at.timestamp() for a in self.place.table(Attempt) if a.claimed_at)
        waits = (next((c for c in claims if c > at), at) - at for at in self.times)
        return max(waits, default=0.0)
