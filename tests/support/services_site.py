"""A site with schedulers too: the processes of `fustgo scheduler`, and runs of what they have loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.client import Client
from tests.support.site import ROOT, Site, WorkerProcess

FAST = {"FUSTGO_WORKER__LEASE": "5s", "FUSTGO_WORKER__HEARTBEAT_INTERVAL": "1s"}


class ServicesSite(Site):
    """Where schedulers load `project/dags`, and workers execute. Who is silent for 5 s is dead."""

    def scheduler(self) -> WorkerProcess:
        """Start a scheduler; `loaded` tells when it serves."""
        return self.service("scheduler")

    def service(self, name: str, *, slots: int = 2) -> WorkerProcess:
        """Start a service as people do."""
        said = self.folder / f"{name}-{len(self._workers)}"
        environ = {**os.environ, **self.environ, "FUSTGO_WORKER__SLOTS": str(slots)}
        environ |= {"FUSTGO_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", name],
                cwd=self.project,
                env=environ,
                stdout=output,
                stderr=output,
            )
        self._workers.append(WorkerProcess(process, said))
        return self._workers[-1]

    def serving(self, service: WorkerProcess, word: str = " as version ") -> WorkerProcess:
        """The service, once it has said that it serves."""
        self.until(lambda: word in service.said.read_text(), f"the word {word!r}")
        return service

    def kill(self, service: WorkerProcess) -> None:
        """Kill it as a crash would."""
        service.signal(signal.SIGKILL)
        service.wait()

    @property
    def client(self) -> Client:
        return Client(self.database, self.registry, self.database.clock, self.artifacts, actor="ada")

    def trigger(self, dag: str, **params: object) -> int:
        """Start a run of a loaded DAG; its number."""
        return self.client.trigger(dag, params=params).run.number


@contextmanager
def services_site(
    folder: Path, dags: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> Iterator[ServicesSite]:
    """A site with these files of DAGs."""
    made = ServicesSite(folder, {**FAST, **(environ or {})})
    (made.project / "dags").mkdir()
    for name, text in dags.items():
        (made.project / "dags" / name).write_text(text)
    try:
        yield made
    finally:
        made.close()
