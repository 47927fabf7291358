"""The worker: claims attempts up to its slots, has its runners run them, and tells the store how they ended.

One thread and one loop: what runners say is gathered; what has ended is finished, all in one transaction;
the freed slots are claimed in a transaction of its own; the orders go out. Between two rounds it waits for
its runners, a hint, or the next thing that is due, a second at most.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from orchestrator.crash import crash_point
from orchestrator.errors import StoreError
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.settings import Settings
from orchestrator.store import hints, processes, queue, runners, steps, workers
from orchestrator.store.database import Database, OutOfReachError
from orchestrator.store.definitions import Definitions
from orchestrator.store.shared_folder import prove_shared
from orchestrator.telemetry import metrics
from orchestrator.worker import messages
from orchestrator.worker.claims import Claims, kill_left
from orchestrator.worker.crew import Crew
from orchestrator.worker.orders import Orders
from orchestrator.worker.runners import Runner, Runners, wait_for_ends
from orchestrator.worker.running import Ending, Running, refused
from orchestrator.worker.watch import Watch

LONGEST_WAIT = 1.0  # seconds: hints may be lost, and the store may be out of reach for a while
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_log = logging.getLogger("fustgo.worker")


def serve(
    database: Database,
    settings: Settings,
    ready: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Be a worker until SIGTERM or SIGINT, then drain: what runs goes on to a savepoint or, where it cannot
    keep one, to its end. A second signal kills what is left.

    What is handed back keeps its last savepoint and costs no try. `ready` is told once what it offers.
    Returns the exit code. Raises SettingsError or StoreError where it cannot begin.
    """
    prove_shared(database, settings.artifacts.path)
    service = Service(database, settings, environ)
    labels = f", labels {', '.join(settings.worker.labels)}" if settings.worker.labels else ""
    try:
        gc.collect()
        gc.freeze()  # what is here stays; collections look at what comes
        with service.hearing_signals():
            ready(f"{settings.worker.slots} slots{labels}")
            service.run()
    finally:
        service.close()
    return 0


class Service:
    """One worker at work; when it is made, its row is there and its runners are on their way."""

    def __init__(self, database: Database, settings: Settings, environ: Mapping[str, str]) -> None:
        self.database, self.clock, self.settings = database, database.clock, settings.worker
        self._lease = lease = self.settings.lease.total_seconds()
        artifacts = settings.artifacts.path
        orders = Orders(database, Definitions(database), artifacts, environ)
        self._claims = Claims(database, orders, artifacts, lease)
        self.running: dict[int, Running] = {}
        self.draining = False
        self._ended: dict[int, Report] = {}
        self._look, self._stops = True, 0
        self._due: datetime | None = None
        self._polled_at = self._unreachable_until = 0.0
        self.selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(self._wake, _READ, "signal")
        self._hints, self._heard = hints.listen(database), -1
        self.worker = self._register()
        self._kill_orphans()
        self.crew = Crew(
            self,
            Runners(
                self.settings.slots,
                environ,
                level=settings.log.level,
                lease=lease,
                recycle_above=self.settings.recycle_above,
            ),
        )
        self._zygote = -1
        self.watch = Watch(self)

    @property
    def executing(self) -> list[int]:
        """The attempts that are this worker's: under way, or not yet told how they ended."""
        return [*self.running, *self._ended]

    def run(self) -> None:
        """Work until it was asked to stop and nothing is left."""
        while not (self.draining and not self.executing):
            asked = self._gather()
            with self.enduring():
                self._finish()
            with self.enduring():  # whatever became of that; before a claim: it may have been taken for dead
                self.watch.look(asked=asked)
                self.crew.welcome()
                self._claim()
                self._begin()
            metrics.slots(len(self.running), self._free)

    def drain(self) -> None:
        """Claim nothing more, and ask what runs for a savepoint; what has not begun is handed back.

        What cannot keep one runs to its end (rule 10).
        """
        if self.draining:
            return
        self.draining = True
        if self.running:
            told = "draining: %s attempts go on to a savepoint or their end; a second signal kills them"
            _log.info(told, len(self.running))
        with self.enduring(), self.database.transaction() as connection:
            workers.ask_to_drain(connection, self.worker)
        for running in list(self.running.values()):
            if running.runner is None:
                self.end(running, Report(Outcome.DRAINED))
            elif running.ending is None:
                self.watch.stop(running, Ending.DRAINED, at_once=False)

    def begin_anew(self) -> None:
        """This worker was taken for dead: what it ran is another's; what it claimed since is handed back."""
        begun = [running for running in self.running.values() if running.runner is not None]
        for running in begun:
            running.ending = Ending.TAKEN
        wait_for_ends([(r.runner.pid, r.runner.start_time) for r in begun if r.runner], seconds=self._lease)
        self._ended = {attempt: Report(Outcome.DRAINED) for attempt in self.running}
        self.running = {running.attempt: running for running in begun}
        before, self.worker = self.worker, self._register()
        with self.database.transaction() as connection:
            mine = runners.left(connection, before)
            runners.end(connection, [row.id for row in mine], self.clock.now())  # a dead worker's are killed
            self.crew.enter(connection, [*self.crew.pool.alive.values()])

    def close(self) -> None:
        """Leave: no runner lives on, and the rows say so."""
        self.crew.pool.close()
        self._hints.close()
        self.selector.close()
        with contextlib.suppress(StoreError), self.database.transaction() as connection:
            now = self.clock.now()
            runners.end(connection, [runner.id for runner in runners.left(connection, self.worker)], now)
            workers.end_worker(connection, self.worker, now)
        os.close(self._wake)
        os.close(self._woken)

    @contextlib.contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Within it, SIGTERM and SIGINT drain; the second kills."""

        def stop(*_: object) -> None:
            self._stops += 1

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        old = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)

    # The round

    def _gather(self) -> bool:
        """Wait for something to do, and take what there is; whether a verb may ask for something."""
        self._register_moving()
        asked = False
        for key, events in self.selector.select(self._patience()):
            if isinstance(key.data, Runner):
                self.crew.take(key, events)
            elif key.data == "zygote":
                self.crew.take_news()
            elif key.data == "hints":
                heard = self._hints.take()
                self._look = self._look or "work" in heard
                asked = asked or "ask" in heard
            else:
                os.read(self._wake, 4096)
        if self._stops:
            self._obey_signals()
        return asked

    def _register_moving(self) -> None:
        """What may be another descriptor than it was: the listener's, and the zygote's."""
        for name, now in (("hints", self._hints.fileno()), ("zygote", self.crew.pool.zygote.fileno())):
            before = self._heard if name == "hints" else self._zygote
            if now != before:
                if before >= 0:
                    with contextlib.suppress(KeyError, ValueError):
                        self.selector.unregister(before)
                self.selector.register(now, _READ, name)
        self._heard, self._zygote = self._hints.fileno(), self.crew.pool.zygote.fileno()

    def _patience(self) -> float:
        now = self.clock.monotonic()
        if now < self._unreachable_until:
            return self._unreachable_until - now
        if self._look and self._free > 0:
            return 0.0
        wait = min(LONGEST_WAIT, self.watch.patience(now))
        if self._free > 0:
            wait = min(wait, self._polled_at + LONGEST_WAIT - now)
            if self._due is not None:
                wait = min(wait, (self._due - self.clock.now()).total_seconds())
        return max(0.0, wait)

    @property
    def _free(self) -> int:
        return 0 if self.draining else self.settings.slots - len(self.running)

    @contextlib.contextmanager
    def enduring(self) -> Iterator[None]:
        """Go on when the store cannot be reached: nothing is forgotten, and all is tried again."""
        try:
            yield
        except StoreError as error:
            _log.error("the store: %s", error.message)
            self._unreachable_until = self.clock.monotonic() + LONGEST_WAIT

    def _obey_signals(self) -> None:
        self.drain()
        if self._stops > 1:
            for running in list(self.running.values()):
                if running.runner is not None and running.ending is not Ending.TAKEN:
                    self.watch.kill(running, running.ending or Ending.DRAINED)
            self._stops = 1

    # Attempts

    def end(self, running: Running, report: Report | None) -> None:
        """An attempt is over here; None where nothing is to be told of it."""
        del self.running[running.attempt]
        if running.runner is not None:
            running.runner.attempt = None
        if report is not None:
            self._ended[running.attempt] = report

    def _finish(self) -> None:
        """Tell the store of all that has ended since the last round."""
        if not self._ended:
            return
        reports = dict(self._ended)
        try:
            steps.finish(self.database, reports)
        except OutOfReachError:
            raise  # told again
        except Exception:  # one of them is the cause: the others shall not pay for it
            for attempt, report in reports.items():
                self._finish_one(attempt, report)
        for attempt in reports:
            self._ended.pop(attempt, None)
        self._look = True

    def _finish_one(self, attempt: int, report: Report) -> None:
        """Tell of one: as a failure where it is refused. Where that is refused too, it is told of no more:
        beats that do not name it give it back (rule 9.6).
        """
        try:
            steps.finish(self.database, {attempt: report})
        except OutOfReachError:
            raise
        except Exception as error:
            _log.exception("the end of attempt %s is refused", attempt)
            with self._forgetting(attempt):
                steps.finish(self.database, {attempt: refused(error)})

    @contextlib.contextmanager
    def _forgetting(self, attempt: int) -> Iterator[None]:
        try:
            yield
        except OutOfReachError:
            raise
        except Exception:
            _log.exception("attempt %s can be told of in no way: it is given back", attempt)

    def _claim(self) -> None:
        wanted = self._free
        if wanted <= 0 or self._ended or not self._may_find():
            return
        begun, failed = self._claims.take(self.worker, wanted)
        self._ended |= failed
        for running in begun:
            self._replace_earlier(running)
            self.running[running.attempt] = running
        self._look = bool(failed) or len(begun) == wanted
        self._polled_at = self.clock.monotonic()
        if not begun:
            with self.database.read() as connection:
                self._due = queue.next_due(connection, worker=self.worker, held=False)

    def _may_find(self) -> bool:
        """Whether a look into the queue may find something: a hint, something due, or long not looked."""
        if self._look or (self._due is not None and self.clock.now() >= self._due):
            return True
        return self.clock.monotonic() - self._polled_at >= LONGEST_WAIT

    def _replace_earlier(self, running: Running) -> None:
        """Rule 3.1, here: kill our own runner of an earlier attempt of this stage, taken from us."""
        stage_run = running.claimed.stage_run.id
        for other in list(self.running.values()):
            if other.claimed.stage_run.id == stage_run and other.runner is not None:
                other.ending = Ending.TAKEN
                wait_for_ends([(other.runner.pid, other.runner.start_time)], seconds=self._lease)

    def _begin(self) -> None:
        """Hand orders to runners, as far as there are any."""
        for running in self.running.values():
            if running.runner is None:
                runner = self.crew.pool.take(running.order.tree)
                if runner is None:
                    continue
                crash_point("restore.killed")
                running.runner = runner
                runner.begin(running.attempt, running.secrets)
                running.began = self.clock.monotonic()
                metrics.pickup_delay(running.began - running.claimed_at)
                if running.timeout is not None:
                    running.deadline = running.began + running.timeout
                self.crew.send(runner, messages.Execute(running.attempt, running.order, str(running.log)))

    def _register(self) -> int:
        pid, started = processes.this_process()
        with self.database.transaction() as connection:
            return workers.register_worker(
                connection,
                host=processes.host(),
                pid=pid,
                start_time=started,
                kind="worker",
                labels=self.settings.labels,
                slots=self.settings.slots,
                now=self.clock.now(),
            )

    def _kill_orphans(self) -> None:
        with self.database.read() as connection:
            left = runners.of_dead_workers(connection, processes.host())
        if stuck := kill_left(self.database, left, self._lease):
            _log.error(stuck)
