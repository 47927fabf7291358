"""A scheduler's duties do not wait for the DAG files that it reads."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from orchestrator.store import processes, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import Worker
from tests.support.services_site import services_site

HANGS = """
from pathlib import Path
from threading import Event

from orchestrator import DAG
from operators import Discard, Generate

while not Path("go").exists():
    Event().wait(0.02)
with DAG("late"):
    Generate("n", rows=1) >> Discard("d")
"""
PATIENT = "from orchestrator.scheduler import rounds; rounds.QUICK = 600.0"


def enter_a_dead_worker(database: Database) -> int:
    """The row of a worker whose process is gone."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = processes.start_time(process.pid)
    process.communicate()
    return database.run_transaction(
        lambda connection: workers.register_worker(
            connection,
            host=processes.host(),
            pid=process.pid,
            start_time=started or "",
            kind="worker",
            now=database.clock.now(),
        )
    )


def test_the_dead_are_found_while_a_file_hangs_and_a_stop_is_heard(tmp_path: Path) -> None:
    with services_site(tmp_path, {"hangs.py": HANGS}) as site:
        dead = enter_a_dead_worker(site.database)
        first = site.service("scheduler", before=PATIENT)
        site.until(
            lambda: any(row.id == dead and row.ended_at for row in site.table(Worker)), "the worker's end"
        )
        assert " as version " not in first.said.read_text()
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        (site.project / "go").touch()
        site.serving(site.service("scheduler", before=PATIENT))
        assert "late" in site.fustgo("dags", "list").out


def test_a_scheduler_without_its_folder_ends_and_says_so(tmp_path: Path) -> None:
    with services_site(tmp_path, {}) as site:
        (site.project / "dags").rmdir()
        service = site.service("scheduler")
        assert service.wait() == 2
        assert "there is no folder" in service.said.read_text()
