"""What an attempt leaves is put back, or told of."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.worker.left import Traces


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process is; it goes back."""
    made = tmp_path / "here"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


def threads_left(traces: Traces) -> str:
    """What is left but child processes, which other tests may have (a server of PostgreSQL)."""
    return traces.remove().removesuffix("child processes").removesuffix(" and ")


def test_variables_are_put_back_also_for_child_processes(folder: Path) -> None:
    before = dict(os.environ)
    traces = Traces()
    os.environ["ADDED"] = "x"
    os.environ["HOME"] = "/nowhere"
    del os.environ["PATH"]
    traces.remove()
    assert dict(os.environ) == before
    assert os.waitstatus_to_exitcode(os.system('test -n "$PATH" -a -z "$ADDED"')) == 0


def test_who_finds_no_project_is_where_the_runner_began(folder: Path, tmp_path: Path) -> None:
    traces = Traces()
    traces.enter(str(tmp_path))
    assert Path.cwd() == tmp_path
    traces.enter(str(tmp_path / "absent"))
    assert Path.cwd() == folder


def test_a_runner_begins_also_in_a_folder_that_is_gone(folder: Path, tmp_path: Path) -> None:
    folder.rmdir()
    traces = Traces()
    traces.enter(str(tmp_path))
    traces.enter(str(tmp_path / "absent"))
    os.chdir(tmp_path)


def test_threads_that_end_by_themselves_are_waited_for_and_others_named(folder: Path) -> None:
    traces = Traces()
    ThreadPoolExecutor(2).submit(int).result()  # let go of: its thread ends
    assert threads_left(traces) == ""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, name=f"t{n}") for n in range(4)]
    for thread in threads:
        thread.start()
    assert threads_left(traces) == "4 threads (t0, t1, t2, ...)"
    end.set()
    for thread in threads:
        thread.join()
    assert threads_left(traces) == ""
