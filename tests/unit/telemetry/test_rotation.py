"""Processes of one service write one log file; putting it away loses no line, and tears none."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.telemetry.rotation import SharedFile

LINES, WRITERS = 1500, 3
_spawn = multiprocessing.get_context("spawn")


def write_many(path: Path, name: str) -> None:
    handler = SharedFile(path, max_bytes=20_000, backups=100)
    for number in range(LINES):
        handler.emit(record(f'{{"by": "{name}", "number": {number}}}'))
    handler.close()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("fustgo.x", logging.INFO, "", 0, text, None, None)


def test_several_processes_put_one_file_away_and_every_line_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "worker.jsonl"
    writers = [_spawn.Process(target=write_many, args=(path, f"w{n}")) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    files = [file for file in tmp_path.iterdir() if file.suffix != ".lock"]
    assert len(files) > 5
    assert all(file.stat().st_size <= 20_000 + WRITERS * 100 for file in files)
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert Counter(line["by"] for line in lines) == {f"w{n}": LINES for n in range(WRITERS)}
    assert len({(line["by"], line["number"]) for line in lines}) == LINES * WRITERS


def test_only_so_many_files_are_kept_newest_first(tmp_path: Path) -> None:
    handler = SharedFile(tmp_path / "x.jsonl", max_bytes=10, backups=2)
    for number in range(6):
        handler.emit(record(f"line {number}"))
    handler.close()
    kept = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert kept == {
        "x.jsonl": "line 5\n",
        "x.jsonl.1": "line 4\n",
        "x.jsonl.2": "line 3\n",
        "x.jsonl.lock": "",
    }


def test_without_backups_a_full_file_begins_anew(tmp_path: Path) -> None:
    handler = SharedFile(tmp_path / "x.jsonl", max_bytes=10, backups=0)
    for number in range(3):
        handler.emit(record(f"line {number}"))
    handler.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.jsonl", "x.jsonl.lock"]
    assert (tmp_path / "x.jsonl").read_text() == "line 2\n"


def test_a_file_that_somebody_moves_is_begun_anew(tmp_path: Path) -> None:
    handler = SharedFile(tmp_path / "x.jsonl", max_bytes=1000, backups=1)
    handler.emit(record("one"))
    (tmp_path / "x.jsonl").rename(tmp_path / "moved")  # as logrotate does
    handler.emit(record("two"))
    handler.close()
    assert (tmp_path / "moved").read_text() == "one\n"
    assert (tmp_path / "x.jsonl").read_text() == "two\n"


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    SharedFile(tmp_path / "x.jsonl", 1000, 1).close()
    assert (tmp_path / "x.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_costs_lines_and_the_file_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = SharedFile(tmp_path / "x.jsonl", max_bytes=10_000, backups=1)
    handler.emit(record("before"))
    write, room = os.write, [4, 0, 0]

    def full(descriptor: int, content: bytes) -> int:
        if room and not (taken := room.pop(0)):
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:taken] if room else content)

    monkeypatch.setattr(os, "write", full)
    for text in ("torn", "lost", "lost too", "after"):
        handler.emit(record(text))
    handler.close()
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert lines == ["before", "torn", "3 log lines are missing here: the file could not be written", "after"]
    assert capsys.readouterr().err.count("No space left on device") == 1
