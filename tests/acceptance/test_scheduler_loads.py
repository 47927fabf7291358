"""What is saved is live, whatever becomes of the scheduler; its duties do not wait for DAG files."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orchestrator.store import processes, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import Dag, Worker
from orchestrator.store.tables.services import Bundle, LoadError
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
COUNTS = """
from orchestrator import DAG
from operators import Discard, Generate
from shared import ROWS

with DAG("counts", doc_md="first"):
    Generate("n", rows=ROWS) >> Discard("d")
"""
PATIENT = "from orchestrator.scheduler.loading import rounds; rounds.QUICK = 600.0"


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


def test_what_is_saved_is_live_what_is_broken_stays_and_what_comes_back_is_itself(tmp_path: Path) -> None:
    folder = tmp_path / "project" / "dags"
    with services_site(tmp_path, {"counts.py": COUNTS, "shared.py": "ROWS = 1"}) as site:

        def now() -> Dag:
            [row] = site.table(Dag)
            assert isinstance(row, Dag)
            return row

        def live(changed: Callable[[Dag], bool], what: str) -> Dag:
            site.until(lambda: changed(now()), what)
            return now()

        scheduler = site.serving(site.scheduler())
        first = now()
        (folder / "counts.py").write_text(COUNTS.replace("first", "second"))
        second = live(lambda dag: dag.version != first.version, "another definition")
        (folder / "shared.py").write_text("ROWS = 1  # still")
        third = live(lambda dag: dag.bundle_version != second.bundle_version, "another tree")
        assert third.version == second.version
        (folder / "shared.py").write_text("ROWS = one")
        site.until(lambda: bool(site.table(LoadError)), "the error")
        assert "NameError: name 'one' is not defined" in site.table(LoadError)[0].message
        assert now() == third
        assert "counts" in site.fustgo("dags", "list").out
        (folder / "shared.py").write_text("ROWS = 2")
        live(lambda dag: dag.version != third.version and not site.table(LoadError), "what was mended")
        (folder / "counts.py").unlink()
        gone = live(lambda dag: dag.removed_at is not None, "its end")
        refused = site.fustgo("dags", "trigger", "counts")
        assert refused.code == 2, refused
        assert "was removed: counts.py" in refused.err
        (folder / "counts.py").write_text(COUNTS)
        back = live(lambda dag: dag.removed_at is None, "its return")
        assert back.uid == gone.uid
        assert site.fustgo("dags", "trigger", "counts").code == 0
        said = scheduler.said.read_text()
        assert "1 DAG changed (counts)" in said
        assert "1 DAG removed (counts)" in said


def test_a_second_scheduler_loads_what_the_first_did_until_it_was_killed(tmp_path: Path) -> None:
    with services_site(tmp_path, {"counts.py": COUNTS, "shared.py": "ROWS = 1"}) as site:
        first = site.serving(site.scheduler())
        [bundle] = site.table(Bundle)
        second = site.scheduler()
        waits = f"are loaded by scheduler {bundle.loader} on "
        site.until(lambda: waits in second.said.read_text(), "the second scheduler")
        before = [row.version for row in site.table(Dag)]
        site.kill(first)
        (site.project / "dags" / "counts.py").write_text(COUNTS.replace("first", "second"))
        site.until(lambda: [row.version for row in site.table(Dag)] != before, "the change")
        assert [row.loader for row in site.table(Bundle)] != [bundle.loader]
        second.signal(signal.SIGTERM)
        assert second.wait() == 0
        assert all(row.ended_at for row in site.table(Worker) if row.kind == "scheduler")
