"""What time brings to attempts under way: verbs that ask, deadlines, kills after grace, memory, the beat."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.store import attempts, workers
from orchestrator.store.attempts import Asked
from orchestrator.units import format_size
from orchestrator.worker import memory, messages
from orchestrator.worker.heartbeat import Heartbeat
from orchestrator.worker.running import Ending, Running

if TYPE_CHECKING:
    from orchestrator.worker.service import Service

ASK_SECONDS = 1.0
AGAIN_SECONDS = 1.0
MEMORY_SECONDS = 0.2
_log = logging.getLogger("fustgo.worker")


class Watch:
    """Looks after the attempts of one worker. Times are monotonic seconds."""

    def __init__(self, service: Service) -> None:
        self._service, self._clock = service, service.clock
        self._settings = service.settings
        self._grace = self._settings.grace.total_seconds()
        now = self._clock.monotonic()
        self._interval = self._settings.heartbeat_interval.total_seconds()
        self._heartbeat = Heartbeat(
            service.database, service.worker, interval=self._interval, executing=lambda: service.executing
        )
        self._beats_at = now + self._interval
        self._asks_at = self._measures_at = now
        self._kills = [memory.kills()] * 2  # at the last two beats

    def patience(self, now: float) -> float:
        """Seconds until something is due here."""
        due = [self._beats_at, *(at for running in self._begun() for at in _times(running))]
        if self._service.running:
            due.append(self._asks_at)
            due += [self._measures_at] if self._settings.memory_limit is not None else []
        return max(0.0, min(due) - now)

    def look(self, *, asked: bool) -> None:
        """Do what is due; `asked` says that a verb may want something."""
        now = self._clock.monotonic()
        for running in list(self._begun()):  # first what needs no store: it may be out of reach
            self._mind_deadlines(running, now)
        if self._settings.memory_limit is not None and now >= self._measures_at:
            self._measures_at = now + MEMORY_SECONDS
            self._measure(self._settings.memory_limit)
        if now >= self._beats_at:
            self._beat(now)
        if asked and not self._service.draining:
            self._mind_drain()
        if self._service.running and (asked or now >= self._asks_at):
            self._asks_at = now + ASK_SECONDS
            self._heed(now)

    def stop(self, running: Running, ending: Ending, *, at_once: bool) -> None:
        """Ask an attempt to end: at a savepoint, or at once.

        Who shall end at once and has not done so after the grace period is killed. A savepoint is not waited
        for with a watch: what cannot keep one runs to its end, and how long that takes nobody knows.
        """
        running.ending = ending
        if running.runner is not None:
            self._service.crew.send(running.runner, messages.Stop(running.attempt, at_once=at_once))
        if at_once:
            running.kill_at = self._clock.monotonic() + self._grace

    def kill(self, running: Running, ending: Ending) -> None:
        """End an attempt at once."""
        running.ending = ending
        if running.runner is not None:
            running.runner.kill()

    def kernel_kills(self) -> str:
        """In words that the kernel has killed for want of memory about now; it does not say whom."""
        killed = memory.kills() - self._kills[0]
        many = f"{killed} process{'es' * (killed != 1)}"
        return f"the kernel of this host killed {many} for want of memory" if killed else ""

    def _begun(self) -> Iterator[Running]:
        return (running for running in self._service.running.values() if running.runner is not None)

    def _mind_deadlines(self, running: Running, now: float) -> None:
        if running.kill_at is not None and now >= running.kill_at:
            running.kill_at = None
            self.kill(running, running.ending or Ending.STOPPED)
        elif running.deadline is not None and now >= running.deadline:
            running.deadline = None
            if running.ending in (None, Ending.DRAINED):
                self.stop(running, Ending.TIMED_OUT, at_once=True)

    def _mind_drain(self) -> None:
        with self._service.database.read() as connection:
            wanted = workers.get(connection, self._service.worker).draining
        if wanted:
            self._service.drain()

    def _heed(self, now: float) -> None:
        with self._service.database.read() as connection:
            wishes = attempts.asked_of(connection, self._service.worker)
        for running in list(self._begun()):
            if running.attempt not in wishes:
                self.kill(running, Ending.TAKEN)
            else:
                self._grant(running, wishes[running.attempt])

    def _grant(self, running: Running, asked: Asked) -> None:
        if asked.stop is not None and running.ending is not Ending.STOPPED:
            self.stop(running, Ending.STOPPED, at_once=True)
        elif asked.pause and not running.pausing:
            running.pausing = True
            assert running.runner is not None
            self._service.crew.send(running.runner, messages.Stop(running.attempt))

    def _measure(self, limit: int) -> None:
        begun = {running.runner.pid: running for running in self._begun() if running.runner is not None}
        for pid, took in memory.above(limit, set(begun)).items() if begun else ():
            begun[pid].why = f"it took {took / 2**20:.1f} MiB, worker.memory_limit is {format_size(limit)}"
            self.kill(begun[pid], Ending.OUT_OF_MEMORY)

    def _beat(self, now: float) -> None:
        """Say that we live, from the loop itself: one that hangs shall be missed."""
        self._beats_at = now + min(AGAIN_SECONDS, self._interval)  # where it cannot be written
        answer = self._heartbeat.beat()
        self._beats_at = now + self._interval
        self._kills = [self._kills[1], memory.kills()]
        if answer.ended:
            _log.warning("this worker was taken for dead: what it ran is another's by now")
            self._service.begin_anew()
            self._heartbeat.worker = self._service.worker
        if answer.draining:
            self._service.drain()


def _times(running: Running) -> Iterator[float]:
    yield from (at for at in (running.kill_at, running.deadline) if at is not None)
