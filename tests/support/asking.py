"""Services of a store that are entered one by one, and the question why something waits."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli.main import build_parser
from orchestrator.client import Client
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.runs.why import Reason
from orchestrator.store import dags, pools, processes, steps, workers
from orchestrator.store.database import Database
from orchestrator.store.queue import Claimed
from orchestrator.store.tables import Run
from tests.support.store import Command, ManualClock


@dataclass
class Services:
    """The store as services see it: runs that nobody holds, workers that beat."""

    database: Database
    clock: ManualClock
    command: Command

    @property
    def client(self) -> Client:
        return Client(self.database, self.clock, Path("/nowhere"), actor="ada")

    def start(self, stages: Any, state: RunState = RunState.RUNNING, **values: Any) -> Run:
        return self.command.start(stages, held_by=None, state=state, **values)

    def enter(self, kind: str = "worker", *, labels: tuple[str, ...] = (), slots: int = 1) -> int:
        pid, started = processes.this_process()
        with self.database.transaction() as connection:
            return workers.register_worker(
                connection, host=processes.host(), pid=pid, start_time=started, kind=kind, labels=labels,
                slots=slots, now=self.clock.now(),
            )  # fmt: skip

    def claim(self, worker: int, stage: str) -> Claimed:
        (claimed,) = steps.claim(self.database, worker=worker)
        assert claimed.stage_run.stage == stage
        return claimed

    def finish(self, claimed: Claimed, outcome: Outcome = Outcome.SUCCESS, **values: Any) -> None:
        assert steps.finish(self.database, {claimed.attempt: Report(outcome, **values)})[claimed.attempt]

    def limit(self, run: Run, **values: int) -> None:
        with self.database.transaction() as connection:
            connection.execute(dags.dags.update().where(dags.dags.c.id == run.dag).values(**values))

    def pool(self, name: str, slots: int) -> None:
        with self.database.transaction() as connection:
            pools.set_pool(connection, name, slots)

    def why(self, run: Run, node: str | None = None) -> dict[str, Reason]:
        found = self.client.why(str(run.number), node)
        for reason in found:
            assert reason.text
            assert reason.remedy
            must_be_commands(reason.remedy)
        return {reason.code: reason for reason in found}

    def only(self, run: Run, code: str, node: str | None = None) -> Reason:
        """The one reason that there is."""
        found = self.why(run, node)
        assert list(found) == [code]
        return found[code]


def must_be_commands(remedy: str) -> None:
    """What a remedy tells to type is something that can be typed."""
    for command in re.findall(r"fustgo ([^;,:]+)", remedy):
        words = shlex.split(command)
        build_parser(words[0]).parse_args(words)
