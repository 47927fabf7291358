"""DAGs in a home's store as the services load them, and what the services do to their runs."""

from __future__ import annotations

import json
import select
import shutil
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Self

from orchestrator import settings
from orchestrator.clock import SystemClock
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.scheduler.loading.loader import Loading
from orchestrator.scheduler.service import register
from orchestrator.store import processes, promotion, steps, workers
from orchestrator.store.database import Database, open_database
from orchestrator.store.logs import log_path
from orchestrator.store.queue import Claimed

PATIENCE = 30.0  # seconds, on a busy machine


def open_home(home: Path) -> Database:
    """The store of a home, made where it is absent."""
    return open_database(f"sqlite:///{home / 'fustgo.db'}", clock=SystemClock(), create=True)


def load(home: Path, folder: Path, *names: str) -> None:
    """Load files of a project folder into the home's store, as a scheduler does when it starts."""
    (folder / "dags").mkdir(exist_ok=True)
    for name in names:
        shutil.copy(folder / name, folder / "dags" / name)
    found = settings.load(None, {"bundle.path": str(folder)}, {"FUSTGO_HOME": str(home)})
    database = open_home(home)
    try:
        load_once(database, found)
    finally:
        database.close()


class Loader:
    """A scheduler's loading at work in this process."""

    def __init__(self, database: Database, found: settings.Settings) -> None:
        self.database, self.worker = database, register(database)
        self._said = SimpleQueue[str]()
        self.loading = Loading(database, found, lambda: self.worker, self._said.put)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it is so; raises what has ended the loading."""
        deadline = monotonic() + PATIENCE
        while not condition():
            if select.select([self.loading], [], [], 0.01)[0]:
                self.loading.must_go_on()
            assert monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"

    def serves(self) -> str:
        """What it says that it serves, once all is loaded."""
        self.until(lambda: not self._said.empty(), "the loading")
        return self._said.get()

    def __enter__(self) -> Self:
        self.loading.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.loading.__exit__(*error)
        self.database.run_transaction(
            lambda connection: workers.end_worker(connection, self.worker, self.database.clock.now())
        )


def load_once(database: Database, found: settings.Settings) -> str:
    """Load the bundles of the settings, as a scheduler does when it starts; what it says that it serves."""
    with Loader(database, found) as loader:
        return loader.serves()


class Services:
    """What scheduler and worker do to the runs of a home, done by a test, one thing at a time."""

    def __init__(self, home: Path) -> None:
        self.database, self.artifacts = open_home(home), home / "artifacts"
        pid, started = processes.this_process()
        with self.database.transaction() as connection:
            self.worker = workers.register_worker(
                connection,
                host=processes.host(),
                pid=pid,
                start_time=started,
                kind="worker",
                slots=8,
                now=self.database.clock.now(),
            )

    def promote(self) -> None:
        """Start the runs that are queued."""
        promotion.sweep(self.database)

    def claim(self) -> dict[str, Claimed]:
        """Claim everything that is due, by stage."""
        found = steps.claim(self.database, worker=self.worker, limit=8)
        return {one.stage_run.stage: one for one in found}

    def log(self, claimed: Claimed, *texts: str, node: str = "") -> None:
        """Write lines into the log of an attempt."""
        path = log_path(self.artifacts, claimed.run.uid, claimed.stage_run.stage, claimed.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for text in texts:
                at = "2026-01-31T12:00:01.000+00:00"
                file.write(json.dumps({"at": at, "level": "INFO", "node": node, "text": text}) + "\n")

    def finish(
        self,
        claimed: Claimed,
        outcome: Outcome = Outcome.SUCCESS,
        message: str = "",
        *,
        retry: bool = False,
    ) -> None:
        """End an attempt."""
        report = Report(outcome, message, retry=retry)
        assert steps.finish(self.database, {claimed.attempt: report})[claimed.attempt] is not None

    def work(self, outcomes: dict[str, Outcome] | None = None) -> list[str]:
        """Execute all there is; the stages in the order of their ends."""
        self.promote()
        done: list[str] = []
        while found := self.claim():
            for stage, claimed in found.items():
                self.finish(claimed, (outcomes or {}).get(stage, Outcome.SUCCESS))
                done.append(stage)
        return done

    def close(self) -> None:
        self.database.close()
