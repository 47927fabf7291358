"""A runner's part of an attempt: what it asks, what it says, and how it ends."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Context, action
from orchestrator.errors import OperatorError
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.store.logs import read_log
from orchestrator.worker import messages
from orchestrator.worker.forks import Ends
from tests.integration.test_zygote import execute, order_for
from tests.support.site import ROOT

_MAIN = """
import os, socket, sys
from orchestrator.worker import runner
runner.end_with_all = lambda: os._exit(0)
around = runner.Surroundings.of_this_process("INFO", 30.0)
runner.serve(socket.socket(fileno=int(sys.argv[1])), around)
"""


@action
def speaks() -> str:
    """Say something in each way that Python has."""
    print("printed")
    print("without an end", end="")
    logging.getLogger("a.library").error("logged")
    return "done"


@action
def fails(*, code: int = 0) -> None:
    """Raise, or call sys.exit."""
    if code:
        sys.exit(code)
    raise OperatorError("no such customer", hint="ask the sales department")


@action
def waits_to_be_stopped(context: Context) -> None:
    """Stand still until somebody stops it; five seconds at most."""
    until = time.monotonic() + 5
    while not context.cancelled:
        assert time.monotonic() < until, "nobody stopped it"
    raise RuntimeError("stopped")


@action
def is_silent() -> None:
    """Nothing."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Ends]:
    """The worker's end of a connection to a runner that was not forked, and ends as any process does."""
    mine, its = socket.socketpair()
    with its:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-P", "-c", _MAIN, str(its.fileno())]
        process = subprocess.Popen(arguments, pass_fds=[its.fileno()], env=environ)
    yield Ends(mine, -1, -1)
    mine.close()
    assert process.wait(30) == 0


def order_of(name: str, folder: Path, **arguments: Any) -> Order:
    config: dict[str, Any] = {"function": f"tests.unit.worker.test_runner:{name}", "arguments": arguments}
    node = {"id": "node", "type": "python", "kind": "action", "config": config}
    document = {"format": 1, "id": "dag", "nodes": [node]}
    return replace(order_for(folder, 1), document=document, nodes=("node",), stage="node")


def run(worker: Ends, order: Order, folder: Path) -> tuple[Report, list[dict[str, Any]]]:
    """The report, and the log."""
    ended = execute(worker, order, folder / "log.jsonl")
    assert isinstance(ended, messages.Ended)
    return ended.report, read_log(folder / "log.jsonl").lines


def test_what_python_says_is_a_line_each_with_the_node_and_the_outcome_last(
    worker: Ends, tmp_path: Path
) -> None:
    report, lines = run(worker, order_of("speaks", tmp_path), tmp_path)
    assert report == Report(Outcome.SUCCESS, results={"node": "done"})
    said = [line["text"] for line in lines]
    assert said[0].startswith("attempt 1 of node starts on ")
    assert {"printed", "logged", "without an end"} <= set(said)
    assert {line["node"] for line in lines[1:-1]} == {"node"}
    assert said[-1] == "success"


def test_a_failure_has_its_traceback_in_the_log(worker: Ends, tmp_path: Path) -> None:
    report, lines = run(worker, order_of("fails", tmp_path), tmp_path)
    assert report.outcome is Outcome.FAILED
    assert "no such customer" in report.message
    assert any("test_runner.py" in line["text"] for line in lines)
    assert lines[-1]["level"] == "ERROR"


def test_sys_exit_of_code_is_a_failure_and_not_the_runners_end(worker: Ends, tmp_path: Path) -> None:
    report, _ = run(worker, order_of("fails", tmp_path, code=3), tmp_path)
    assert report.outcome is Outcome.FAILED
    assert "sys.exit(3)" in report.message
    again, _ = run(worker, order_of("speaks", tmp_path), tmp_path)
    assert again.outcome is Outcome.SUCCESS


def test_a_stop_right_behind_its_order_is_heard(worker: Ends, tmp_path: Path) -> None:
    stop = messages.frame(messages.Stop(1, at_once=True))
    order = messages.frame(
        messages.Execute(1, order_of("waits_to_be_stopped", tmp_path), str(tmp_path / "log"))
    )
    worker.connection.setblocking(True)
    worker.connection.sendall(order + stop)
    reader = messages.Reader(worker.connection)
    bodies: list[bytes] = []
    while not bodies:
        assert worker.connection.recv(1, socket.MSG_PEEK)
        assert reader.read()
        bodies += reader.bodies()
    ended = messages.to_worker.decode(bodies[0])
    assert isinstance(ended, messages.Ended)
    assert ended.report.outcome is Outcome.CANCELLED


def test_a_stage_of_data_asks_its_worker_for_every_step(worker: Ends, tmp_path: Path) -> None:
    order = order_for(tmp_path, 1)
    Path(order.artifacts).mkdir()
    report, _ = run(worker, order, tmp_path)
    assert report.outcome is Outcome.SUCCESS
    assert (tmp_path / "1.parquet").is_file()


@pytest.mark.parametrize(("lost", "outcome"), [(True, Outcome.LOST), (False, Outcome.FAILED)])
def test_what_the_store_refuses_ends_the_attempt(
    worker: Ends, tmp_path: Path, lost: bool, outcome: Outcome
) -> None:
    order = order_for(tmp_path, 1)
    Path(order.artifacts).mkdir()
    writer, reader = messages.Writer(worker.connection), messages.Reader(worker.connection)
    writer.send(messages.Execute(1, order, str(tmp_path / "log.jsonl")))
    worker.connection.setblocking(True)
    heard: list[messages.ToWorker] = []
    while not any(isinstance(message, messages.Ended) for message in heard):
        assert worker.connection.recv(1, socket.MSG_PEEK)
        assert reader.read()
        for body in reader.bodies():
            heard.append(messages.to_worker.decode(body))
            if isinstance(heard[-1], messages.Open):
                writer.send(messages.Refused(1, "not now", "later", lost=lost))
    assert isinstance(heard[-1], messages.Ended)
    assert (heard[-1].report.outcome, heard[-1].report.message) == (outcome, "not now")
