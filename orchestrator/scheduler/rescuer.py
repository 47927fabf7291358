"""The rescuer: finds who died, and gives their work to others (rule 9.5).

Any number of them may look at one store: each judges by its own monotonic clock, and what follows is one
transaction that states the beat it saw.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.store import holders, processes, rescue, runners, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import Worker
from orchestrator.telemetry import metrics

_log = logging.getLogger("fustgo.rescuer")


@dataclass
class Observer:
    """Whose beat has stood still for a lease (seconds). Pure: all it knows is what it was shown."""

    lease: float
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    _looked: float = 0.0

    def silent(self, beats: Iterable[tuple[int, int]], now: float) -> dict[int, int]:
        """Of workers with their present beats, those that are dead by it, with the beat that stood still.

        `now` is monotonic. An observer that has not looked for half a lease was stopped itself, and with it
        perhaps the whole machine: it begins anew.
        """
        if now - self._looked > self.lease / 2:
            self._seen.clear()
        self._looked = now
        known = self._seen
        self._seen = {
            worker: known[worker] if known.get(worker, (-1,))[0] == beat else (beat, now)
            for worker, beat in beats
        }
        return {worker: beat for worker, (beat, since) in self._seen.items() if now - since >= self.lease}


class Rescuer:
    """Sweeps one store."""

    def __init__(self, database: Database, *, lease: float) -> None:
        self._database = database
        self._observer = Observer(lease)

    def sweep(self) -> None:
        """Look at everybody once, and take from the dead what they had.

        Raises StoreError where the store cannot be read or written; the next sweep finds the same again.
        """
        now = self._database.clock.monotonic()
        if stalled := self._database.end_stalled():
            _log.warning("%d transactions stood still and were ended", stalled)
        with self._database.read() as connection:
            watched = rescue.watched(connection)
        alive = [worker for worker in watched if worker.ended_at is None]
        silent = self._observer.silent([(worker.id, worker.beat) for worker in alive], now)
        for worker in watched:
            if _is_dead(worker, silent):
                self._bury(worker)
        self._release()

    def _bury(self, worker: Worker) -> None:
        if not self._kill_runners(worker):
            return
        if worker.kind == "command":  # what becomes of its runs is decided where they are released
            beat, clock = worker.beat, self._database.clock
            self._database.run_transaction(
                lambda connection: workers.end_dead(connection, worker.id, beat, clock.now())
            )
            metrics.rescued(worker.kind)
            return
        lost = rescue.lose(self._database, worker.id, worker.beat)
        metrics.rescued(worker.kind)
        shown = f": attempts {', '.join(map(str, lost))} run again elsewhere" if lost else ""
        _log.warning(
            "%s %s (process %s on %s) is dead%s", worker.kind, worker.id, worker.pid, worker.host, shown
        )

    def _kill_runners(self, worker: Worker) -> bool:
        """Kill what a dead worker left on this host, before its attempts may start again (rule 3.1)."""
        if worker.host != processes.host():
            return True
        with self._database.read() as connection:
            left = runners.left(connection, worker.id)
        hanging = [row.pid for row in left if not processes.kill(row.pid, row.start_time)]
        if hanging:
            _log.error("runners %s of the dead worker %s hang in the kernel", hanging, worker.id)
            return False
        if left:
            ids = [row.id for row in left]
            self._database.run_transaction(
                lambda connection: runners.end(connection, ids, self._database.clock.now())
            )
        return True

    def _release(self) -> None:
        """End the runs whose command was killed."""
        with self._database.read() as connection:
            if not holders.are_dead(connection):
                return
        released = self._database.run_transaction(
            lambda connection: holders.release_dead_holders(connection, self._database.clock.now())
        )
        for number in released:
            _log.warning("run %s has failed: the command that held it was killed", number)


def _is_dead(worker: Worker, silent: dict[int, int]) -> bool:
    """By its silence; on this host also where the process is gone, which is seen at once.

    A command on this host is judged by its process alone: who suspends one means to go on with it.
    """
    life = workers.life(worker)
    by_silence = worker.kind != "command" or life == workers.Life.UNKNOWN
    return life == workers.Life.DEAD or (by_silence and worker.id in silent)
