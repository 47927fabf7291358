"""A runner's part of an attempt: what it asks, what it says, and how it ends."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
import os, signal, socket, sys
from orchestrator.worker import runner
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in a fork of the zygote
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
def gives_an_object() -> object:
    """What is no JSON."""
    return object()


@action
def is_silent() -> None:
    """Nothing."""


class Unspeakable(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise ValueError("no words")


RAISED: dict[str, BaseException] = {
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "base": BaseException("odd"),
    "unspeakable": Unspeakable(),
    "surrogate": ValueError("cannot read \udcff"),
}


@action
def raises(*, what: str) -> None:
    """Raise something that is no plain error."""
    raise RAISED[what]


@action(connections=["crm"])
def gives_away(context: Context) -> None:
    """Show a password."""
    password = context.connection("crm").password.get_secret_value()
    print([password], {"p": password})
    raise RuntimeError("cannot connect to " + password)


@action
def returns_bytes() -> str:
    """Half a surrogate pair, as `os.fsdecode` gives it."""
    return "\udcff"


@action
def leaves_traces() -> str:
    """Change what other attempts see: variables, and the folder; what it found comes back."""
    found = f"{os.environ.get('TRACE')} {os.environ['PATH']}"
    os.environ["TRACE"] = "left"
    os.environ["PATH"] = "nowhere"
    os.chdir("/")
    return found


@action
def leaves_a_thread() -> None:
    """A thread that goes on."""
    threading.Thread(target=threading.Event().wait, daemon=True, name="forgotten").start()


@action
def leaves_a_child() -> None:
    """A process that nobody waits for."""
    os.posix_spawn("/bin/true", ["true"], os.environ)


@action
def forks() -> int:
    """A child comes back from here, as the parent does; the parent has its exit code."""
    child = os.fork()
    if child == 0:
        return -1
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def a_runner() -> Iterator[Ends]:
    """The worker's end of a connection to a runner that was not forked, and ends as any process does."""
    mine, its = socket.socketpair()
    with its:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-P", "-c", _MAIN, str(its.fileno())]
        process = subprocess.Popen(arguments, pass_fds=[its.fileno()], env=environ)
    yield Ends(mine, -1, -1)
    mine.close()
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def worker() -> Iterator[Ends]:
    """A runner of many attempts."""
    with a_runner() as ends:
        yield ends


def order_of(name: str, folder: Path, **arguments: Any) -> Order:
    config: dict[str, Any] = {"function": f"tests.unit.worker.test_runner:{name}", "arguments": arguments}
    node = {"id": "node", "type": "python", "kind": "action", "config": config}
    document = {"format": 1, "id": "dag", "nodes": [node]}
    return replace(order_for(folder, 1), document=document, nodes=("node",), stage="node")


def run(worker: Ends, order: Order, folder: Path) -> tuple[Report, list[dict[str, Any]]]:
    """The report, and the log."""
    return end_of(worker, order, folder).report, read_log(folder / "log.jsonl").lines


def end_of(worker: Ends, order: Order, folder: Path) -> messages.Ended:
    ended = execute(worker, order, folder / "log.jsonl")
    assert isinstance(ended, messages.Ended)
    return ended


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


def test_a_refusal_has_no_traceback_of_our_own_files_in_the_log(worker: Ends, tmp_path: Path) -> None:
    """What a shell command or a refused result says is all that its author can act on."""
    order = order_of("gives_an_object", tmp_path)
    report, lines = run(worker, order, tmp_path)
    assert report.outcome is Outcome.FAILED
    assert "its result is no JSON" in report.message
    assert [line["text"] for line in lines[-2:]] == [f"hint: {report.hint}", f"failed: {report.message}"]
    assert not any("Traceback" in line["text"] for line in lines)


def test_sys_exit_of_code_is_a_failure_and_not_the_runners_end(worker: Ends, tmp_path: Path) -> None:
    report, _ = run(worker, order_of("fails", tmp_path, code=3), tmp_path)
    assert report.outcome is Outcome.FAILED
    assert "sys.exit(3)" in report.message
    again, _ = run(worker, order_of("speaks", tmp_path), tmp_path)
    assert again.outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("interrupt", "KeyboardInterrupt"),
        ("generator", "GeneratorExit"),
        ("base", "BaseException: odd"),
        ("unspeakable", "Unspeakable: (its text cannot be had: __str__ raised ValueError)"),
        ("surrogate", "ValueError: cannot read \\udcff"),
    ],
)
def test_whatever_code_raises_is_a_failure_of_its_node(
    worker: Ends, tmp_path: Path, what: str, said: str
) -> None:
    report, lines = run(worker, order_of("raises", tmp_path, what=what), tmp_path)
    assert (report.outcome, report.node, report.retry) == (Outcome.FAILED, "node", True)
    assert report.message == f"node 'node': {said}"
    assert "test_runner.py" in report.hint
    assert lines[-1]["text"] == f"failed: {report.message}"


def test_a_secret_shows_neither_in_the_log_nor_in_the_error(worker: Ends, tmp_path: Path) -> None:
    connection = {"type": "http", "password": "s3cr3t\\'PW"}
    order = replace(order_of("gives_away", tmp_path), connections={"crm": connection})
    report, lines = run(worker, order, tmp_path)
    assert report.message == "node 'node': RuntimeError: cannot connect to ***"
    said = "\n".join(line["text"] for line in lines)
    assert "['***']" in said or '["***"]' in said
    assert "s3cr3t" not in said + report.hint


def test_a_result_that_is_no_text_is_refused_with_the_reason(worker: Ends, tmp_path: Path) -> None:
    report, _ = run(worker, order_of("returns_bytes", tmp_path), tmp_path)
    assert (report.outcome, report.retry) == (Outcome.FAILED, False)
    assert "U+DCFF" in report.message


def test_variables_and_folder_are_as_new_for_the_next_attempt(worker: Ends, tmp_path: Path) -> None:
    orders = [
        order_of("leaves_traces", tmp_path),
        replace(order_of("leaves_traces", tmp_path), project=str(tmp_path / "absent")),
    ]
    first, second = (run(worker, order, tmp_path)[0].results["node"] for order in orders)
    assert first == second == f"None {os.environ['PATH']}"


def test_a_runner_in_which_code_goes_on_is_not_used_again(tmp_path: Path) -> None:
    with a_runner() as fresh:
        assert not end_of(fresh, order_of("is_silent", tmp_path), tmp_path).leaves
        assert end_of(fresh, order_of("leaves_a_child", tmp_path), tmp_path).leaves
        assert end_of(fresh, order_of("leaves_a_thread", tmp_path), tmp_path).leaves
    said = [line["text"] for line in read_log(tmp_path / "log.jsonl").lines if line["level"] == "WARNING"]
    assert [text.partition(" behind: ")[0] for text in said] == [
        "it has left child processes",
        "it has left 1 thread (forgotten) and child processes",
    ]


def test_a_child_of_a_fork_that_comes_back_is_ended_and_answers_nothing(worker: Ends, tmp_path: Path) -> None:
    report, lines = run(worker, order_of("forks", tmp_path), tmp_path)
    assert report.results == {"node": 1}
    assert [line["text"] for line in lines if "os.fork()" in line["text"]]
    again, _ = run(worker, order_of("speaks", tmp_path), tmp_path)
    assert again.results == {"node": "done"}


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
