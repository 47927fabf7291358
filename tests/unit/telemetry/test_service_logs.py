"""A service keeps its log lines, everybody's that matter, and no secrets in them."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import settings, telemetry
from orchestrator.errors import SettingsError
from orchestrator.telemetry.logs import configure
from orchestrator.telemetry.masking import masked, masked_text

SPEAKING = """
import logging
from orchestrator import settings, telemetry

with telemetry.start(settings.load(), "scheduler"):
    logging.getLogger("fustgo.scheduler").warning("late", extra={"run": 5, "password": "abc"})
"""
FAILING = """
from orchestrator import settings, telemetry

telemetry.start(settings.load(), "scheduler")
raise {error}("at the top")
"""


@pytest.fixture
def log(home: Path) -> Iterator[logging.Logger]:
    with telemetry.start(settings.load(), "worker"):
        yield logging.getLogger("fustgo.worker.claims")


def lines(home: Path, service: str = "worker") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / f"logs/{service}.jsonl").read_text().splitlines()]


def test_a_line_says_when_who_and_what(log: logging.Logger, home: Path) -> None:
    log.debug("below the level")
    log.info("took %d attempts — née", 3, extra={"run": 7, "stages": ["a", "b"]})
    (line,) = lines(home)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info", "service": "worker", "pid": os.getpid(), "logger": "fustgo.worker.claims",
        "text": "took 3 attempts — née", "run": 7, "stages": ["a", "b"],
    }  # fmt: skip


def test_what_is_no_json_and_no_utf8_is_kept_as_text(
    log: logging.Logger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()  # pytest's handlers would hand the line on to a process that takes UTF-8 only
    ours = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest")]
    monkeypatch.setattr(root, "handlers", ours)
    log.warning("odd \udcff", extra={"path": Path("/a"), "two\nlines": "x\ny"})
    (line,) = lines(home)
    assert line["text"] == "odd \udcff"
    assert line["two\nlines"] == "x\ny"
    assert "/a" in line["path"]


def test_libraries_warnings_and_uncaught_errors_are_heard(log: logging.Logger, home: Path) -> None:
    def fail() -> None:
        raise ValueError("nobody catches this")

    logging.getLogger("library").info("chatter")
    logging.getLogger("library").error("a library's error")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    error, warning, uncaught = lines(home)
    assert (error["logger"], error["text"]) == ("library", "a library's error")
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert "careful" in warning["text"]
    assert (uncaught["level"], uncaught["text"]) == ("critical", "nothing caught this error")
    assert "ValueError: nobody catches this" in uncaught["exception"]


def test_secrets_are_masked_wherever_they_stand(log: logging.Logger, home: Path) -> None:
    try:
        raise ValueError("cannot reach postgres://ada:abc123@host/db")
    except ValueError:
        log.exception(
            "failed with token=abc123",
            extra={"password": "abc123", "options": {"api_key": "abc123", "ssl": True}},
        )
    (line,) = lines(home)
    assert "abc123" not in json.dumps(line)
    assert (line["password"], line["options"]) == ("***", {"api_key": "***", "ssl": True})
    assert "postgres://ada:***@host/db" in line["exception"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=abc", "password=***"),
        ("PGPASSWORD=abc cmd", "PGPASSWORD=*** cmd"),
        ('{"api_key": "a b c", "x": 1}', '{"api_key": ***, "x": 1}'),
        ("Authorization: Bearer a.b.c", "Authorization: ***"),
        ("http://h/?access_token=abc&x=1", "http://h/?access_token=***&x=1"),
        ("mysql://u:p@h/d and pg://v:q@i", "mysql://u:***@h/d and pg://v:***@i"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("passed 3 of 4, tokenized", "passed 3 of 4, tokenized"),
    ],
)
def test_text_is_masked_where_it_looks_like_a_secret(text: str, shown: str) -> None:
    assert masked_text(text) == shown


def test_values_are_masked_by_the_names_they_stand_under() -> None:
    secrets: dict[str, object] = {
        "DB_PASSWORD": 1,
        "accessToken2": "x",
        "client-secret": ["a"],
        "cookie": None,
    }
    plain: dict[str, object] = {"tokenizer": "bpe", "secretary": "Ada", "rows": 5, "nested": [{"a": "b"}]}
    assert masked(plain) == plain
    assert masked(secrets) == {
        "DB_PASSWORD": "***",
        "accessToken2": "***",
        "client-secret": "***",
        "cookie": None,
    }


def test_a_command_inside_a_service_does_not_silence_it(log: logging.Logger, home: Path) -> None:
    configure("WARNING")
    log.info("quiet now")
    log.warning("still kept")
    assert [line["text"] for line in lines(home)] == ["still kept"]


def test_after_its_end_lines_go_where_they_went_before(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("INFO")
    before = list(logging.getLogger().handlers)
    with telemetry.start(settings.load(), "worker"):
        pass
    logging.getLogger("fustgo.x").info("to the terminal")
    assert logging.getLogger().handlers == before
    assert "x to the terminal" in capsys.readouterr().err
    assert lines(home) == []


def test_files_are_put_away_by_the_settings(home: Path) -> None:
    environ = {"FUSTGO_HOME": str(home), "FUSTGO_LOG__MAX_BYTES": "4KiB", "FUSTGO_LOG__BACKUPS": "1"}
    with telemetry.start(settings.load(environ=environ), "web"):
        for _ in range(100):
            logging.getLogger("fustgo.web").info("x" * 100)
    assert {path.name for path in (home / "logs").iterdir()} == {"web.jsonl", "web.jsonl.1", "web.jsonl.lock"}


def test_a_folder_that_cannot_be_is_said_at_the_start(home: Path) -> None:
    home.mkdir()
    (home / "logs").write_text("in the way")
    with pytest.raises(SettingsError, match="log.folder: .*/logs cannot be written: File exists") as caught:
        telemetry.start(settings.load(), "worker")
    assert caught.value.exit_code == 2


def test_standard_error_is_json_for_a_journal(home: Path) -> None:
    environ = {"FUSTGO_HOME": str(home)}
    said = subprocess.run(
        [sys.executable, "-c", SPEAKING], env=environ, capture_output=True, check=True
    ).stderr
    assert [json.loads(line) for line in said.splitlines()] == lines(home, "scheduler")


def test_standard_error_is_readable_on_a_terminal(home: Path) -> None:
    master, terminal = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", SPEAKING], env={"FUSTGO_HOME": str(home)}, stderr=terminal, check=True
    )
    said = os.read(master, 4096).decode()
    os.close(terminal)
    os.close(master)
    assert "late" in said
    assert "***" in said
    assert "abc" not in said
    assert not said.startswith("{")


def test_what_ends_a_service_stands_in_its_file(home: Path) -> None:
    environ = {"FUSTGO_HOME": str(home)}
    for error in ("ValueError", "KeyboardInterrupt"):
        command = [sys.executable, "-c", FAILING.format(error=error)]
        assert subprocess.run(command, env=environ, capture_output=True, check=False).returncode != 0
    (line,) = lines(home, "scheduler")
    assert "ValueError: at the top" in line["exception"]
