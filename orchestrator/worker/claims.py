"""Claiming: attempts with their orders, after what an earlier attempt of the stage left here is dead."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.pipeline import failure
from orchestrator.errors import FustgoError
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.store import processes, runners, steps
from orchestrator.store.artifacts import bundle_tree
from orchestrator.store.database import Database
from orchestrator.store.logs import log_path
from orchestrator.store.queue import Claimed
from orchestrator.store.tables.services import Runner as Row
from orchestrator.worker.orders import Orders
from orchestrator.worker.runners import wait_for_ends
from orchestrator.worker.running import Running

_log = logging.getLogger("fustgo.worker")


@dataclass(frozen=True)
class Claims:
    """What one worker claims. `artifacts` is the root of the artifact store."""

    database: Database
    orders: Orders
    artifacts: Path
    lease: float

    def take(self, worker: int, limit: int) -> tuple[list[Running], dict[int, Report]]:
        """Claim up to `limit` attempts: those that may begin, and what became of the others."""
        claimed = steps.claim(self.database, worker=worker, limit=limit)
        now = self.database.clock.monotonic()
        begun: list[Running] = []
        failed: dict[int, Report] = {}
        stuck = self._kill_earlier(claimed, worker)
        for one in claimed:
            if stuck:
                failed[one.attempt] = Report(Outcome.LOST, stuck, cause="an earlier runner does not die")
                continue
            try:
                begun.append(self._running(one, now))
            except FustgoError as error:
                failed[one.attempt] = Report(**{**vars(failure(error)), "retry": False})
            except Exception as error:
                _log.exception("the order of attempt %s cannot be made", one.attempt)
                failed[one.attempt] = Report(Outcome.FAILED, f"internal error: {error!r}", retry=False)
        return begun, failed

    def _running(self, claimed: Claimed, now: float) -> Running:
        version = claimed.run.bundle_version
        tree = str(bundle_tree(self.artifacts, version)) if version else ""
        stage = self.orders.definitions.graph(claimed.version)[claimed.stage_run.stage]
        log = log_path(self.artifacts, claimed.run.uid, stage.id, claimed.attempt)
        return Running(claimed, self.orders.make(claimed, tree), log, stage.execution_timeout, claimed_at=now)

    def _kill_earlier(self, claimed: Iterable[Claimed], worker: int) -> str:
        """Kill the runners of these stages that dead workers left here (rule 3.1); in words what stays."""
        stage_runs = [one.stage_run.id for one in claimed]
        if not stage_runs:
            return ""
        with self.database.read() as connection:
            left = runners.of_earlier_attempts(connection, stage_runs, worker, processes.host())
        return kill_left(self.database, left, self.lease)


def kill_left(database: Database, left: Sequence[Row], seconds: float) -> str:
    """Kill runners that outlived their worker, and wait for it; empty, or what could not be killed."""
    if not left:
        return ""
    if not wait_for_ends([(runner.pid, runner.start_time) for runner in left], seconds=seconds):
        return f"a runner of a dead worker does not die: one of {', '.join(str(r.pid) for r in left)}"
    with database.transaction() as connection:
        runners.end(connection, [runner.id for runner in left], database.clock.now())
    return ""
