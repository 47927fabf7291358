"""The sign of life of a process that executes (rules 9.5 and 9.6)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Self

from orchestrator.errors import FustgoError
from orchestrator.store import rescue, workers
from orchestrator.store.database import Database
from orchestrator.store.workers import Beat

_AGAIN = 1.0  # seconds until a beat that could not be written is tried again
_log = logging.getLogger("fustgo.heartbeat")


class Heartbeat:
    """Beats for a worker's row every `interval` seconds from a thread of its own, from `start` to `stop`.

    `executing` gives the ids of the attempts that are executed now, of claims that are being handed over too;
    what was not named in two beats running is given back. None: all that is claimed is executed at once, as a
    command does. `heard` gets each answer in that thread, and may set `worker` to a new row where the old one
    has ended. As a context, it beats inside the block.
    """

    def __init__(
        self,
        database: Database,
        worker: int,
        *,
        interval: float,
        executing: Callable[[], Collection[int]] | None = None,
        heard: Callable[[Beat], None] = lambda _: None,
    ) -> None:
        self.worker = worker
        self._database, self._interval = database, interval
        self._executing, self._heard = executing, heard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; registering was the first sign of life, so the first beat comes after an interval."""
        self._thread.start()

    def stop(self) -> None:
        """End; no beat is under way when this returns."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def beat(self) -> Beat:
        """One beat, in the caller's thread; raises StoreError where it could not be written."""
        executing = None if self._executing is None else frozenset(self._executing())
        answer = self._database.run_transaction(
            lambda connection: workers.beat(connection, self.worker, executing, self._database.clock.now())
        )
        if answer.given_back:
            _log.warning("attempts %s were claimed and never heard of: given back", answer.given_back)
            rescue.give_back(self._database, answer.given_back)
        return answer

    def _run(self) -> None:
        wait = self._interval
        while not self._stopping.wait(wait):
            try:
                self._heard(self.beat())
                wait = self._interval
            except FustgoError as error:
                _log.warning("this process could not say that it lives: %s", error)
                wait = min(_AGAIN, self._interval)
