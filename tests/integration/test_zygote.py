"""The zygote: what it has imported, what its forks can do, and that none of them outlives the worker."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.forking import scrubbed
from orchestrator.runs.order import Order
from orchestrator.runs.states import Outcome
from orchestrator.store import processes
from orchestrator.worker import messages
from orchestrator.worker.forks import Ends, Exited, Forked, News, Zygote, ZygoteDied
from tests.support.site import ROOT

SECONDS = 30.0
FORBIDDEN = ("sqlalchemy", "sqlmodel", "networkx", "alembic", "psycopg", "pysqlite3", "orchestrator.store",
             "orchestrator.client", "orchestrator.cli", "operators", "webui")  # fmt: skip


class Forks:
    """A zygote, and the ends of what it has forked."""

    def __init__(self, lease: float = SECONDS) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "FUSTGO_CONN_CRM": "http://login:secret@host"}
        self.zygote = Zygote(environ, lease=lease)
        self._born: list[Forked] = []

    def hear(self, count: int) -> list[News]:
        found: list[News] = []
        while len(found) < count:
            assert select.select([self.zygote], [], [], SECONDS)[0], "the zygote says nothing"
            found += self.zygote.news()
        return found

    def fork(self, count: int = 1) -> list[Forked]:
        for _ in range(count):
            self.zygote.fork()
        born = [event for event in self.hear(count) if isinstance(event, Forked)]
        self._born += born
        return born

    def close(self) -> None:
        self.zygote.close()
        for runner in self._born:
            if runner.ends.connection.fileno() >= 0:
                runner.ends.close()


@pytest.fixture
def forks() -> Iterator[Forks]:
    made = Forks()
    try:
        yield made
    finally:
        made.close()


def execute(ends: Ends, order: Order, log: Path) -> messages.ToWorker:
    """Have a runner execute an order, its store always willing; how it ended."""
    from orchestrator.runs.checkpoint import Checkpoint

    writer, reader = messages.Writer(ends.connection), messages.Reader(ends.connection)
    writer.send(messages.Execute(order.attempt, order, str(log)))
    while True:
        assert select.select([ends.connection], [], [], SECONDS)[0], "the runner says nothing"
        assert reader.read(), "the runner died"
        for body in reader.bodies():
            message = messages.to_worker.decode(body)
            match message:
                case messages.Open():
                    writer.send(messages.Opened(order.attempt, Checkpoint()))
                case messages.Decide() | messages.Applied():
                    writer.send(messages.Done(order.attempt))
                case messages.Ended():
                    return message


def order_for(folder: Path, number: int) -> Order:
    nodes: list[dict[str, Any]] = [
        {"id": "in", "type": "generate", "kind": "input", "config": {"rows": 1000}},
        {"id": "kept", "type": "filter", "kind": "processor", "from": "in"},
        {"id": "out", "type": "parquet", "kind": "output", "from": "kept"},
    ]
    nodes[1]["config"], nodes[2]["config"] = {"condition": "row > 500"}, {"path": f"{number}.parquet"}
    return Order(
        attempt=number, dag_id="dag", dag_uid="dag-uid", run_uid=f"0190-run{number}", run_id="run",
        stage="in", map_index=-1, base=0, document={"format": 1, "id": "dag", "nodes": nodes},
        nodes=("in", "kept", "out"), project=str(folder), artifacts=str(folder / f"artifacts{number}"),
    )  # fmt: skip


def test_twenty_forks_work_with_polars_and_arrow_at_once(forks: Forks, tmp_path: Path) -> None:
    """A library that was used before the fork would hang here."""
    runners = forks.fork(20)
    for number, runner in enumerate(runners):
        order = order_for(tmp_path, number)
        Path(order.artifacts).mkdir()
        message = execute(runner.ends, order, tmp_path / f"{number}.jsonl")
        assert isinstance(message, messages.Ended)
        assert message.report.outcome is Outcome.SUCCESS, message.report
        assert (tmp_path / f"{number}.parquet").is_file()


def test_the_zygote_imports_what_runners_need_and_nothing_of_operators_and_store() -> None:
    code = (
        "import sys; from orchestrator.worker import zygote; zygote.preload('INFO', 30); print(*sys.modules)"
    )
    listed = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    imported = set(listed.stdout.split())
    engine = {"orchestrator.engine.pipeline", "orchestrator.dag.model", "orchestrator.sdk.registry"}
    assert {"polars", "pyarrow", "msgspec", *engine} <= imported
    assert [name for name in imported if name.startswith(FORBIDDEN)] == []


def test_neither_zygote_nor_runners_see_settings_connections_or_variables(forks: Forks) -> None:
    [runner] = forks.fork()
    for pid in (forks.zygote.pid, runner.pid):
        assert b"FUSTGO_CONN" not in Path(f"/proc/{pid}/environ").read_bytes()
    environ = {"FUSTGO_VAR_A": "1", "FUSTGO_HOME": "/home", "PATH": "/bin", "FUSTGO_CRASH": ""}
    assert scrubbed(environ) == {"PATH": "/bin", "FUSTGO_CRASH": ""}


def test_a_runner_is_the_head_of_a_group_and_the_kernels_first_choice(forks: Forks, tmp_path: Path) -> None:
    [runner] = forks.fork()
    assert os.getpgid(runner.pid) == runner.pid
    order = order_for(tmp_path, 1)
    Path(order.artifacts).mkdir()
    execute(runner.ends, order, tmp_path / "log.jsonl")  # it is at work by now
    assert Path(f"/proc/{runner.pid}/oom_score_adj").read_text().strip() == "500"


def test_a_runner_that_dies_is_told_with_its_status(forks: Forks) -> None:
    [runner] = forks.fork()
    os.kill(runner.pid, signal.SIGKILL)
    assert forks.hear(1) == [Exited(runner.pid, -signal.SIGKILL)]


def test_runners_end_with_their_connection_and_with_their_zygote(forks: Forks) -> None:
    first, second = forks.fork(2)
    start = processes.start_time(second.pid)
    first.ends.close()
    assert forks.hear(1) == [Exited(first.pid, -signal.SIGKILL)]
    descriptor = os.pidfd_open(second.pid)
    os.kill(forks.zygote.pid, signal.SIGKILL)
    assert select.select([descriptor], [], [], SECONDS)[0], "it outlived its zygote"
    os.close(descriptor)
    assert start is not None
    with pytest.raises(ZygoteDied):
        forks.hear(1)


def test_a_worker_that_is_killed_leaves_no_process(forks: Forks) -> None:
    [runner] = forks.fork()
    watched = [os.pidfd_open(runner.pid), os.pidfd_open(forks.zygote.pid)]
    forks.zygote._control.close()  # what the kernel does when the worker dies
    for descriptor in watched:
        assert select.select([descriptor], [], [], SECONDS)[0]
        os.close(descriptor)


def test_a_runner_whose_worker_does_not_answer_for_a_lease_ends(tmp_path: Path) -> None:
    forks = Forks(lease=0.5)
    try:
        [runner] = forks.fork()
        order = order_for(tmp_path, 1)
        Path(order.artifacts).mkdir()
        messages.Writer(runner.ends.connection).send(messages.Execute(1, order, str(tmp_path / "log.jsonl")))
        assert forks.hear(1) == [Exited(runner.pid, -signal.SIGKILL)]  # its question stays without an answer
    finally:
        forks.close()
