"""Loads the bundles of the settings, each in a thread of its own, beside the scheduler's duties.

One scheduler loads a bundle; others wait until it is gone. Every DAG file is read by a process of its own,
and stored from here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Self

from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError
from orchestrator.scheduler.bundles import frozen, source_of
from orchestrator.scheduler.loading.rounds import CannotBegin, Rounds
from orchestrator.scheduler.loading.watching import Alarm
from orchestrator.settings import Settings
from orchestrator.settings.bundles import BundleSettings
from orchestrator.store import bundles
from orchestrator.store.bundles import BundleLost, Claim
from orchestrator.store.database import Database, OutOfReachError

CLAIM_EVERY = 1.0  # seconds between two looks at whether a bundle is free
RETIRE_EVERY = 10.0  # seconds between two looks at bundles that no setting names
RETIRE_AFTER = 300.0  # seconds for which nobody has loaded one: who restarts is back by then
PRUNE_EVERY = 3600.0
PRUNE_AFTER_CHANGES = 600.0  # seconds between two prunings while there are changes
KEPT_FOR = timedelta(hours=1)  # of a tree that nobody names any more
_log = logging.getLogger("fustgo.loader")


class Loading:
    """The loading of all bundles; as a context, given up when that is left."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        worker: Callable[[], int],
        ready: Callable[[str], None],
    ) -> None:
        """`worker` gives the scheduler's present row. `ready` is told what is served, in another thread, when
        all is loaded but the files that take long, or another scheduler loads it. Raises UsageError.
        """
        self._database, self._artifacts = database, settings.artifacts.path
        self._bundles: Mapping[str, BundleSettings] = settings.all_bundles()
        self._worker, self._ready = worker, ready
        self._stop, self._failed = Alarm(), Alarm()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._told: dict[str, str] = {}
        self._changes = 0
        self._clock, self._unclaimed = SystemClock(), dict[str, float]()
        self._sources = {source_of(*entry, self._artifacts).shown for entry in self._bundles.items()}
        work: dict[str, Callable[[], None]] = {"tidying bundles": self._tidy}
        work |= {f"loading {name}": partial(self._load, name) for name in self._bundles}
        self._threads = [
            threading.Thread(target=self._guarded, args=(do,), name=what) for what, do in work.items()
        ]

    def fileno(self) -> int:
        """What becomes readable when it has failed."""
        return self._failed.fileno()

    def must_go_on(self) -> None:
        """It has failed; raises why."""
        if self._error is not None:
            raise self._error

    def _guarded(self, work: Callable[[], None]) -> None:
        """What a thread does; where it ends by an error, the scheduler is to end by it."""
        try:
            work()
        except CannotBegin as problem:
            self._fail(problem.error)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._failed.ring()

    def _load(self, name: str) -> None:
        """Load a bundle whenever nobody else does."""
        starting = True
        while not self._stop.rings:
            try:
                self._load_if_free(name, starting=starting)
                starting = False
            except BundleLost as lost:
                _log.warning("%s", lost)
            except OutOfReachError as error:
                _log.error("%s", error)
            self._stop.wait(CLAIM_EVERY)

    def _load_if_free(self, name: str, *, starting: bool) -> None:
        settings, worker = self._bundles[name], self._worker()
        source = source_of(name, settings, self._artifacts, self._stop.fileno())
        with self._database.glance() as connection:
            before = bundles.get_bundle(connection, name)
        was_loaded = before is not None and before.version is not None and before.source == source.shown
        if not bundles.claim_bundle(self._database, name, source.shown, worker):
            self._tell_of_other(name, source.shown)
            return
        if not starting:
            _log.info("bundle %s is loaded by this scheduler now", name)
        rounds = Rounds(
            self._database,
            Claim(name, worker),
            source,
            settings,
            self._stop,
            partial(self._serves, name),
        )
        rounds.run(lambda: self._worker() == worker, starting=starting and not was_loaded)

    def _tell_of_other(self, name: str, shown: str) -> None:
        if name in self._told:
            return
        with self._database.glance() as connection:
            other = bundles.loader_of(connection, name)
        if other is not None:
            self._serves(name, f"the DAGs of {shown} are loaded by scheduler {other.id} on {other.host}")

    def _serves(self, name: str, line: str) -> None:
        """Tell what is served, when it is known of every bundle."""
        with self._lock:
            self._changes += 1
            if name in self._told:
                return
            self._told[name] = line if len(self._bundles) == 1 else f"{name}: {line}"
            complete = len(self._told) == len(self._bundles)
        if complete:
            self._ready("; ".join(self._told[name] for name in self._bundles))

    def _tidy(self) -> None:
        """Forget bundles that no setting names, and remove trees that nobody needs."""
        pruned, changes = float("-inf"), 0
        while True:
            try:
                self._retire()
                since = self._clock.monotonic() - pruned
                if since > PRUNE_EVERY or (since > PRUNE_AFTER_CHANGES and changes != self._changes):
                    pruned, changes = self._clock.monotonic(), self._changes
                    self._prune()
            except StoreError as error:
                _log.error("%s", error)
            if self._stop.wait(RETIRE_EVERY):
                return

    def _retire(self) -> None:
        """Forget the bundles that no setting names and that nobody has loaded for a while; at once what only
        has another name now, or its DAGs would be there twice.
        """
        now = self._clock.monotonic()
        with self._database.glance() as connection:
            free = bundles.unclaimed(connection, self._bundles.keys(), self._worker())
        self._unclaimed = {name: self._unclaimed.get(name, now) for name in free}
        for name, source in free.items():
            if source in self._sources or now - self._unclaimed[name] >= RETIRE_AFTER:
                ids = bundles.retire(self._database, name, self._worker())
                removed = f": {', '.join(ids)} are removed" if ids else ""
                _log.warning("bundle %s is in no setting any more%s", name, removed)

    def _prune(self) -> None:
        with self._database.read() as connection:
            used = bundles.trees_in_use(connection)
        if gone := frozen.prune(self._artifacts, used, KEPT_FOR):
            _log.info("removed %d trees of DAG files that nothing names any more", len(gone))

    def __enter__(self) -> Self:
        self._retire()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.ring()
        for thread in self._threads:
            thread.join()
        self._stop.close()
        self._failed.close()
