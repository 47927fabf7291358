"""Services as people start them tell a real collector, and their log files, what they do."""

from __future__ import annotations

import json
import signal

from tests.support.commands import Shell
from tests.support.otlp_receiver import collector


def test_a_scheduler_sends_metrics_and_keeps_its_lines(shell: Shell) -> None:
    (shell.folder / "dags").mkdir()
    with collector() as received:
        environ = {
            "FUSTGO_TELEMETRY__OTLP_ENDPOINT": received.endpoint,
            "FUSTGO_TELEMETRY__INTERVAL": "1s",
            "FUSTGO_LOG__LEVEL": "DEBUG",
        }
        scheduler = shell.start("scheduler", environ=environ)
        while "fustgo.store.transaction.duration" not in received.metrics:
            received.take()
        scheduler.signal(signal.SIGTERM)
        ended = scheduler.wait()
    assert ended.code == 0, ended
    assert {resource["service.name"] for resource in received.resources} == {"fustgo-scheduler"}
    lines = (shell.home / "logs/scheduler.jsonl").read_text().splitlines()
    assert all(json.loads(line)["service"] == "scheduler" for line in lines)


def test_a_log_folder_that_cannot_be_written_ends_a_service_at_once(shell: Shell) -> None:
    (shell.folder / "in-the-way").write_text("")
    refused = shell.run("scheduler", environ={"FUSTGO_LOG__FOLDER": str(shell.folder / "in-the-way")})
    assert refused.code == 2
    assert "log.folder" in refused.err
