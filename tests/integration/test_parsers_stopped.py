"""A process that reads DAG files and has stopped is not waited for without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.scheduler.parsing import parsers as parsers_module
from orchestrator.scheduler.parsing.parsers import Parsers

STOPS = "import os, signal  # DAG\nos.kill(os.getppid(), signal.SIGSTOP)\nsignal.pause()\n"


def test_a_process_that_says_nothing_any_more_is_ended_and_the_file_that_stopped_it_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsers_module, "LATE", 0.5)
    monkeypatch.setattr(parsers_module, "_LOOK_EVERY", 0.1)
    (tmp_path / "stops.py").write_text(STOPS)
    quiet, writing = os.pipe()
    with Parsers(tmp_path, quiet) as parsers:
        (found,) = parsers.parse(tmp_path, ["stops.py"], 2.0)
    os.close(quiet)
    os.close(writing)
    assert found.error == f"{tmp_path}/stops.py: it ended the process that starts readers"
