"""The log of an attempt: whole lines, bounded, without secrets; read by offset while it grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import SystemClock
from orchestrator.runs.order import Order
from orchestrator.store.logs import last_lines, log_path, read_log
from orchestrator.worker.logs import LONGEST, AttemptLog
from orchestrator.worker.running import secrets_of

RUN = "01900000-0000-7000-8000-000000000000"


def log_in(folder: Path, **settings: Any) -> AttemptLog:
    return AttemptLog(folder / "stage" / "1.jsonl", SystemClock(), **settings)


def texts(path: Path) -> list[str]:
    return [line["text"] for line in read_log(path).lines]


def test_a_log_is_made_with_its_first_line_which_what_was_kept_precedes(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.begin("INFO", "starts")
    assert not log.is_open
    assert list(tmp_path.iterdir()) == []
    log.write("INFO", "said", node="a", stream="stdout")
    log.close()
    path = tmp_path / "stage" / "1.jsonl"
    assert texts(path) == ["starts", "said"]
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text().splitlines()[1]) | {"at": ""} == {
        "at": "", "level": "INFO", "node": "a", "text": "said", "stream": "stdout"
    }  # fmt: skip


def test_secrets_are_masked_also_as_they_stand_in_a_url(tmp_path: Path) -> None:
    connections = {"crm": {"password": "p@ss word"}, "empty": {"password": ""}, "short": {"password": "ab"}}
    order = Order(
        attempt=1, dag_id="d", dag_uid="d", run_uid="r", run_id="r", stage="s", map_index=-1, base=0,
        document={}, nodes=("a",), project="/", artifacts="/", connections=connections,
        names={"conn": {"dwh": {"password": "other"}}},
    )  # fmt: skip
    log = log_in(tmp_path, secrets=secrets_of(order))
    log.write("INFO", "login with p@ss word at http://me:p%40ss%20word@host, then other; about")
    assert texts(tmp_path / "stage" / "1.jsonl") == ["login with *** at http://me:***@host, then ***; about"]
    log.close()


def test_a_full_log_says_so_and_still_takes_the_last_line(tmp_path: Path) -> None:
    log = log_in(tmp_path, limit=1000)
    for number in range(100):
        log.write("INFO", f"line {number}")
    log.write("ERROR", "failed", last=True)
    log.close()
    kept = texts(tmp_path / "stage" / "1.jsonl")
    assert kept[-3] == "this log is full at 1,000 bytes: what follows is not kept"
    assert kept[-2] == f"{100 - (len(kept) - 3)} lines were not kept: the log was full"
    assert kept[-1] == "failed"


def test_a_long_line_becomes_several(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write("INFO", "x" * (LONGEST + 1))
    log.close()
    assert [len(text) for text in texts(tmp_path / "stage" / "1.jsonl")] == [LONGEST, 1]


def test_half_a_surrogate_pair_is_escaped(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write("INFO", "a file named \udcff", node="n\udcff")
    log.close()
    assert texts(tmp_path / "stage" / "1.jsonl") == ["a file named \\udcff"]


def test_who_makes_the_file_writes_the_first_line(tmp_path: Path) -> None:
    logs = [log_in(tmp_path) for _ in range(2)]
    for log in logs:
        log.begin("INFO", "starts")
        log.write("INFO", "said")
    for log in logs:
        log.close()
    assert texts(tmp_path / "stage" / "1.jsonl") == ["starts", "said", "said"]


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "stage").write_text("a file where the folder should be")
    log = log_in(tmp_path)
    with pytest.raises(NotADirectoryError):
        (tmp_path / "stage" / "1.jsonl").open("x")
    log.write("INFO", "said")
    assert not log.is_open


def test_reading_goes_on_where_it_ended_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = log_path(tmp_path, RUN, "group/load", 7)
    assert path == tmp_path / "runs" / RUN / "logs" / "group/load" / "7.jsonl"
    assert read_log(path).lines == []
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"text": "one"}\n{"text": "two"}\n{"te')
    page = read_log(path)
    assert [line["text"] for line in page.lines] == ["one", "two"]
    with path.open("ab") as file:
        file.write(b'xt": "three"}\nno JSON\n')
    later = read_log(path, page.offset)
    assert [line["text"] for line in later.lines] == ["three", "no JSON"]
    assert read_log(path, later.offset).lines == []
    assert [line["text"] for line in read_log(path, limit=1).lines] == ["one"]
    assert [line["text"] for line in last_lines(path, 2)] == ["three", "no JSON"]
    with pytest.raises(ValueError, match="beyond the end"):
        read_log(path, 1000)
