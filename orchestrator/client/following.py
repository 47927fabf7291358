"""Seeing a run go on: its view each time that something may have changed, and the lines of its logs."""

from __future__ import annotations

import select
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.client.surface import Surface
from orchestrator.runs.states import RUN_ENDS
from orchestrator.store import hints, runs, views
from orchestrator.store.logs import LogPage, log_path, read_log
from orchestrator.store.tables import Run

LONGEST = 1.0  # seconds between two looks: a hint may be lost, and stages of a run that go on give none


@dataclass(frozen=True)
class Following(Surface):
    """Watching runs and reading their logs; changes nothing but what a dead command left."""

    def watch(self, text: str, *, every: float = LONGEST) -> Iterator[views.RunView]:
        """The run and its stages as they stand, without figures, again and again; last the ended run.

        `every`: seconds to the next look where no hint comes before.
        """
        listener = hints.listen(self.database)
        try:
            while True:
                self._release()
                with self.database.read() as connection:
                    view = views.outline(connection, runs.find_run(connection, text))
                yield view
                if view.run.state in RUN_ENDS:
                    return
                select.select([listener.fileno()], [], [], every)
                listener.take()
        finally:
            listener.close()

    def read_log(self, run: Run, stage: str, attempt: int, offset: int = 0) -> LogPage:
        """Whole lines of an attempt's log from a byte offset on; see `store.logs`."""
        return read_log(log_path(self.artifacts, run.uid, stage, attempt), offset)
