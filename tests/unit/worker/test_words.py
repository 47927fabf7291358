"""What is told of an end: fit to be kept and shown."""

from __future__ import annotations

from orchestrator.kept import MAX_MESSAGE
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.sdk.secrets import Secrets
from orchestrator.worker.words import fit, last_words

CRASH = """printed
Fatal Python error: Segmentation fault

Thread 0x00007f01 (most recent call first):
  File "/srv/dags/elsewhere.py", line 3 in waits

Current thread 0x00007f02 (most recent call first):
  File "{lib}/ctypes/__init__.py", line 519 in string_at
  File "/srv/dags/leads.py", line 12 in parsed
  File "/srv/dags/leads.py", line 40 in leads
  File "/venv/lib/python3.11/site-packages/library.py", line 1 in call

Extension modules: numpy.core, pyarrow.lib (total: 2)"""


def test_a_report_is_without_secrets_bounded_and_valid_text() -> None:
    report = Report(
        Outcome.FAILED, "login s3cr3t \udcff" + "x" * 5_000_000, hint="at s3cr3t", results={"a": "s3cr3t"}
    )
    told = fit(report, Secrets(["s3cr3t"]))
    assert told.message.startswith("login *** \\udcffxxx")
    assert told.message.endswith("... (cut: it has 5,000,016 characters)")
    assert len(told.message) < MAX_MESSAGE + 50
    assert told.hint == "at ***"
    assert told.results == {"a": "s3cr3t"}  # the author's own


def test_a_report_that_is_fit_stays() -> None:
    report = Report(Outcome.FAILED, "no such customer", hint="ask")
    assert fit(report, Secrets(["s3cr3t"])) is report


def test_a_crash_is_told_with_the_authors_frames_of_the_faulting_thread() -> None:
    import os
    from pathlib import Path

    lines = CRASH.format(lib=Path(os.__file__).parent).splitlines()
    assert last_words(lines) == [
        "Fatal Python error: Segmentation fault",
        'File "/srv/dags/leads.py", line 12 in parsed',
        'File "/srv/dags/leads.py", line 40 in leads',
    ]


def test_any_other_death_is_told_with_the_last_lines() -> None:
    assert last_words([str(n) for n in range(9)]) == ["4", "5", "6", "7", "8"]
    assert last_words([]) == []
