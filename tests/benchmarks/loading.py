"""What a scheduler costs that loads 1,000 DAG files, and how soon it notices what was saved.

Half of them are YAML, half Python that imports one module. Memory is the proportional set size of the
scheduler and its children.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.store import dag_views
from orchestrator.store.database import Database, open_database
from tests.benchmarks.processes import fsync_milliseconds, held, used

FILES = 1000
STEADY = 20.0  # seconds that are measured
SAVES = 10
PATIENCE = 300.0
YAML = """
id: yaml{number}
schedule: "0 2 * * *"
doc_md: "{word}"
nodes:
  - {{id: people, type: csv, kind: input, config: {{path: data/people.csv}}}}
  - {{id: adults, type: filter, from: people, config: {{condition: "age > 18"}}}}
  - {{id: file, type: csv, kind: output, from: adults, config: {{path: "out/adults-{{{{ ds }}}}.csv"}}}}
  - {{id: tell, type: bash, config: {{command: "echo done"}}, after: [file], retries: 2}}
"""
PYTHON = """
from operators import CsvInput, CsvOutput, Filter
from orchestrator import DAG
from shared import WORD, tell

with DAG("python{number}", schedule="0 2 * * *", doc_md=WORD + "{word}"):
    out = CsvOutput("file", path="out/adults-{{{{ ds }}}}.csv")
    CsvInput("people", path="data/people.csv") >> Filter("adults", condition="age > 18") >> out
    out >> tell("tell")
"""
SHARED = """
from orchestrator import action

WORD = "{word}"


@action
def tell(context):
    print(context.results)
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as name:
        folder = Path(name)
        dags, home = folder / "dags", folder / "home"
        dags.mkdir()
        home.mkdir(mode=0o700)
        write_all(dags)
        print(f"fsync {fsync_milliseconds(folder):.1f} ms")
        store = open_database(f"sqlite:///{home / 'fustgo.db'}", clock=SystemClock())
        with scheduler(folder) as process:
            first_load(process, store)
            steady(process)
            one_saved(dags, store)
            all_saved(dags, store, process)
        with scheduler(folder) as process:
            print(f"  started again, nothing changed: loaded after {loaded(process):.1f} s")
        store.close()


def write_all(dags: Path) -> None:
    """The files of the DAGs, and the module that half of them import."""
    (dags / "shared.py").write_text(SHARED.format(word="first"))
    for number in range(FILES // 2):
        (dags / f"yaml{number}.yaml").write_text(YAML.format(number=number, word=""))
        (dags / f"python{number}.py").write_text(PYTHON.format(number=number, word=""))


@contextmanager
def scheduler(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A scheduler of its own on the store of the folder."""
    environ = {**os.environ, "FUSTGO_HOME": str(folder / "home"), "FUSTGO_LOG__LEVEL": "WARNING"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [str(Path(sys.executable).with_name("fustgo")), "scheduler"]
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def loaded(process: subprocess.Popen[str]) -> float:
    """Seconds until it says that it has loaded what is there."""
    began = time.perf_counter()
    assert process.stdout is not None
    for line in process.stdout:
        if " as version " in line:
            assert f" {FILES:,} DAGs of " in line, line
            return time.perf_counter() - began
    raise AssertionError("the scheduler ended")


def first_load(process: subprocess.Popen[str], store: Database) -> None:
    """How long it takes, and what it holds meanwhile and afterwards."""
    with peak_of(process.pid) as seen:
        seconds = loaded(process)
    assert len(words(store)) == FILES
    print(
        f"  first load of {FILES:,} files: {seconds:.1f} s ({1000 * seconds / FILES:.1f} ms a file), "
        f"{used(process.pid):.1f} s of a core, {max(seen) / 2**20:.0f} MiB at its peak"
    )


@contextmanager
def peak_of(pid: int) -> Iterator[list[int]]:
    """What the tree of a process holds, looked at again and again."""
    over, seen = threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.2):
            seen.append(held(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def steady(process: subprocess.Popen[str]) -> None:
    """What it uses while nothing changes."""
    pause = threading.Event()
    pause.wait(3.0)
    before, at = used(process.pid), time.perf_counter()
    pause.wait(STEADY)
    share = (used(process.pid) - before) / (time.perf_counter() - at)
    print(
        f"  nothing changes for {STEADY:g} s: {share:.2%} of a core (to stay under 2 %), "
        f"{held(process.pid) / 2**20:.0f} MiB"
    )


def one_saved(dags: Path, store: Database) -> None:
    """Seconds from saving one file, YAML and Python in turn, until its new version is shown."""
    taken = []
    for turn in range(SAVES):
        name, suffix, text = (("yaml", "yaml", YAML), ("python", "py", PYTHON))[turn % 2]
        word = f"saved {turn}"
        (dags / f"{name}{turn}.{suffix}").write_text(text.format(number=turn, word=word))
        taken.append(until(lambda dag=f"{name}{turn}", word=word: word_of(store, dag).endswith(word)))  # type: ignore[misc]
    print(
        f"  one file saved: live after {statistics.median(taken):.2f} s (median of {SAVES}), "
        f"{max(taken):.2f} s at most (to stay under 2 s)"
    )


def all_saved(dags: Path, store: Database, process: subprocess.Popen[str]) -> None:
    """Seconds from saving the module until all that import it have a new version."""
    before = used(process.pid)
    (dags / "shared.py").write_text(SHARED.format(word="second"))
    taken = until(lambda: sum(word.startswith("second") for word in words(store)) == FILES // 2)
    print(
        f"  the module of {FILES // 2} files saved: all live after {taken:.1f} s, "
        f"{used(process.pid) - before:.1f} s of a core"
    )


def until(true: Callable[[], bool]) -> float:
    """Seconds until something is true of the store."""
    began, pause = time.perf_counter(), threading.Event()
    while not true():
        if time.perf_counter() - began > PATIENCE:
            raise AssertionError("what was saved is not live")
        pause.wait(0.02)
    return time.perf_counter() - began


def word_of(store: Database, dag: str) -> str:
    """What the present version of a DAG says."""
    with store.read() as connection:
        return _word(dag_views.find_dag(connection, dag))


def words(store: Database) -> list[str]:
    """What the present versions of all DAGs say."""
    with store.read() as connection:
        return [_word(view) for view in dag_views.list_dags(connection)]


def _word(view: dag_views.DagView) -> str:
    document: Mapping[str, str] = view.version.document
    return document.get("doc_md", "")


if __name__ == "__main__":
    main()
