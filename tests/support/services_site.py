"""A site with services as people start them, and the command line beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.store.tables import Dag, Run, table_of
from orchestrator.store.tables.entity import value
from tests.support.commands import Result, Shell
from tests.support.site import ROOT, Site, WorkerProcess

FAST = {"FUSTGO_WORKER__LEASE": "5s", "FUSTGO_WORKER__HEARTBEAT_INTERVAL": "1s"}
READY = {"scheduler": "; its store is ", "worker": " slots", "standalone": "fustgo is ready"}
_MAIN = "from orchestrator.cli.main import entry; entry()"
_STOPS_INSIDE = """
import os, signal
from pathlib import Path
from orchestrator.store import finishing

def stop_once(connection, reports, now, finish=finishing.finish):
    found = finish(connection, reports, now)
    if not Path({mark!r}).exists():
        Path({mark!r}).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return found

finishing.finish = stop_once
"""


def stops_inside(mark: Path) -> str:
    """Code before a worker: it stops in the middle of the transaction that ends its first attempt."""
    return _STOPS_INSIDE.format(mark=str(mark))


class ServicesSite(Site):
    """Where schedulers load `project/dags`, and workers execute. Who is silent for 5 s is dead."""

    def scheduler(self) -> WorkerProcess:
        """Start a scheduler; `loaded` tells when it serves."""
        return self.service("scheduler")

    def service(self, name: str, *, slots: int = 2, before: str = "", **environ_of: str) -> WorkerProcess:
        """Start a service as people do; `before` is code that its process executes first."""
        said = self.folder / f"{name}-{len(self._workers)}"
        environ = {**os.environ, **self.environ, "FUSTGO_WORKER__SLOTS": str(slots)}
        environ |= {"FUSTGO_HOME": str(self.home), "PYTHONPATH": str(ROOT), **environ_of}
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", f"{before}\n{_MAIN}", name],
                cwd=self.project,
                env=environ,
                stdout=output,
                stderr=output,
            )
        self._workers.append(WorkerProcess(process, said))
        return self._workers[-1]

    def serving(self, service: WorkerProcess) -> WorkerProcess:
        """The service, once it has said that it serves."""
        self.until(lambda: self.serves(service), "a service")
        return service

    def serves(self, service: WorkerProcess) -> bool:
        """Whether it has said that it serves."""
        return READY[service.said.name.partition("-")[0]] in service.said.read_text()

    def kill(self, service: WorkerProcess) -> None:
        """Kill it as a crash would."""
        service.signal(signal.SIGKILL)
        service.wait()

    @property
    def client(self) -> Client:
        return Client(self.database, self.database.clock, self.artifacts, actor="ada")

    def trigger(self, dag: str, **params: object) -> int:
        """Start a run of a loaded DAG; its number."""
        return self.client.trigger(dag, params=params).run.number

    def scheduled(self, dag: str) -> list[Run]:
        """The runs that a DAG's schedule has made, by their logical dates."""
        rows = {row.dag_id: row.id for row in self.table(Dag)}
        runs = [run for run in self.table(Run) if run.dag == rows.get(dag) and run.run_type == "scheduled"]
        return sorted(runs, key=lambda run: str(run.logical_date))

    def table(self, entity: type[Any]) -> list[Any]:
        """All rows of a table, oldest first."""
        rows = table_of(entity)
        with self.database.read() as connection:
            found = connection.execute(rows.select().order_by(*rows.primary_key))
            return [value(entity, row) for row in found]

    # The command line

    @cached_property
    def shell(self) -> Shell:
        return Shell(self.project, self.home)

    def fustgo(self, *words: str) -> Result:
        return self.shell.run(*words, environ=dict(self.environ))

    def json(self, *words: str) -> Any:
        done = self.fustgo(*words, "--json")
        assert done.code == 0, done
        return json.loads(done.out)

    def loaded(self, dag: str) -> dict[str, Any]:
        """What `dags list` says of a DAG; nothing where it is not loaded."""
        return next((row for row in self.json("dags", "list")["dags"] if row["dag"] == dag), {})

    def state(self, run: int, stage: str = "") -> str:
        """What people are shown of a run, or of a stage."""
        view = self.json("runs", "show", str(run))
        found = {row["stage"]: row["shown"] for row in view["stages"]}
        return str(found[stage] if stage else view["state"])


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
