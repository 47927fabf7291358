"""The scheduler: loads the DAGs, fires them, and looks after the dead, the late and the queued.

The duties begin at once: they wait for no DAG file. Any number of schedulers may serve one store; none is the
leader, and each duty may be done by two at once.
"""

from __future__ import annotations

import logging
import os
import signal
import types
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.errors import StoreError
from orchestrator.readiness import readable
from orchestrator.scheduler.loading.loader import Loading
from orchestrator.scheduler.rescuer import Rescuer
from orchestrator.settings import Settings
from orchestrator.store import firing, hints, late, processes, promotion, timeouts, workers
from orchestrator.store.database import Database
from orchestrator.store.shared_folder import prove_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

RESCUE_EVERY = 2.0  # seconds
PROMOTE_EVERY = 5.0
FIRE_EVERY = 1.0  # where nothing is due: for what is held back, and a clock that was set
LONGEST_WAIT = 5.0
DEFECT_TOLD_EVERY = 60.0
_log = logging.getLogger("fustgo.scheduler")


@dataclass
class Duty:
    """Something that is done again and again: `do` returns the seconds until it is due again."""

    do: Callable[[], float]
    due: float = 0.0
    quiet_until: float = 0.0  # when a defect of it is told again


def serve(database: Database, settings: Settings, ready: Callable[[str], None]) -> int:
    """Be a scheduler until SIGTERM or SIGINT; the exit code. `ready` is told once what it serves.

    Raises UsageError, SettingsError or StoreError where it cannot begin.
    """
    with _signals() as stop:
        scheduler = Scheduler(database, settings, stop)
        try:
            with Loading(database, settings, lambda: scheduler.worker, ready) as loading:
                scheduler.run(loading)
        finally:
            scheduler.close()
    return 0


class Scheduler:
    """One scheduler at work. `stop` is a descriptor that becomes readable when it has to end."""

    def __init__(self, database: Database, settings: Settings, stop: int) -> None:
        """Prove that the artifact store is there, and register."""
        prove_shared(database, settings.artifacts.path)
        self._database, self._stop = database, stop
        self._rescuer = Rescuer(database, lease=settings.worker.lease.total_seconds())
        self._listener = hints.listen(database, own={"schedule"})
        self._beats, self._firing, self._timeouts = map(Duty, (self._beat, self._fire, self._time_out))
        self._duties = [
            *(self._firing, self._beats, Duty(self._tell_late)),
            *(Duty(self._rescue), Duty(self._promote), self._timeouts),
        ]
        self._interval = settings.worker.heartbeat_interval.total_seconds()
        self.worker = register(self._database)
        self._draining = False

    def run(self, loading: Loading) -> None:
        """Do what is due, and wait for what comes, until it has to end.

        Raises what has ended the loading.
        """
        open_ends = [self._stop, loading.fileno()]
        while not self._draining:
            for duty in self._duties:
                if duty.due <= self._now():
                    self._do(duty)
            wait = min(duty.due for duty in self._duties) - self._now()
            heard = self._listener.fileno()
            ready = readable([*open_ends, heard], wait)
            if self._stop in ready:
                return
            if loading.fileno() in ready:
                loading.must_go_on()
            told = self._listener.take() if heard in ready else set()
            if "run" in told:
                self._timeouts.due = 0.0  # a run that began may be the next to end
            if told & {"run", "schedule"}:
                self._firing.due = 0.0  # where a run has ended, there may be room for another
            if "ask" in told:
                self._beats.due = 0.0  # perhaps this scheduler is asked to go

    def close(self) -> None:
        """Say good-bye."""
        self._listener.close()
        try:
            self._database.run_transaction(
                lambda connection: workers.end_worker(connection, self.worker, self._database.clock.now())
            )
        except StoreError as error:
            _log.warning("%s", error)

    def _do(self, duty: Duty) -> None:
        """Do a duty; one that fails is done again a second later, and the others go on meanwhile."""
        wait = 1.0
        try:
            wait = duty.do()
        except StoreError as error:
            _log.error("%s", error)
        except Exception:  # a defect: whoever starts this process again would meet it again
            if duty.quiet_until <= self._now():
                duty.quiet_until = self._now() + DEFECT_TOLD_EVERY
                _log.exception("a duty of the scheduler failed, and is tried again")
        duty.due = self._now() + wait

    def _beat(self) -> float:
        answer = self._database.run_transaction(
            lambda connection: workers.beat(connection, self.worker, (), self._database.clock.now())
        )
        self._draining = answer.draining
        if answer.ended:
            _log.warning("this scheduler was silent for a lease and taken for dead: it registers anew")
            self.worker = register(self._database)
        return self._interval

    def _rescue(self) -> float:
        self._rescuer.sweep()
        return RESCUE_EVERY

    def _promote(self) -> float:
        promotion.sweep(self._database)
        return PROMOTE_EVERY

    def _fire(self) -> float:
        return self._until(firing.fire_due(self._database), FIRE_EVERY)

    def _tell_late(self) -> float:
        return self._until(late.tell_late(self._database), LONGEST_WAIT)

    def _time_out(self) -> float:
        return self._until(timeouts.end_late(self._database), LONGEST_WAIT)

    def _until(self, moment: datetime | None, longest: float) -> float:
        """The seconds until a moment, where there is one, but no more than the `longest`."""
        if moment is None:
            return longest
        wait = (moment - self._database.clock.now()).total_seconds()
        return min(max(wait, 0.0), longest)

    def _now(self) -> float:
        return self._database.clock.monotonic()


def register(database: Database) -> int:
    """Enter this process as a scheduler; its worker row."""
    pid, started = processes.this_process()
    return database.run_transaction(
        lambda connection: workers.register_worker(
            connection,
            host=processes.host(),
            pid=pid,
            start_time=started,
            kind="scheduler",
            slots=0,
            now=database.clock.now(),
        )
    )


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that becomes readable with SIGTERM or SIGINT, in place of their usual effect."""
    receiving, sending = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(_number: int, _frame: types.FrameType | None) -> None:
        os.write(sending, b"s")

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield receiving
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(receiving)
        os.close(sending)
