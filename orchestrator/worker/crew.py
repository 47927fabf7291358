"""The worker's dealings with its runners: births, what they ask and say, deaths."""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
from typing import TYPE_CHECKING, Any

from orchestrator.errors import AttemptLost
from orchestrator.runs.states import Outcome
from orchestrator.store import processes, runners, steps
from orchestrator.store.logs import last_lines
from orchestrator.telemetry import metrics
from orchestrator.worker import messages
from orchestrator.worker.logs import AttemptLog
from orchestrator.worker.runners import Runner, Runners
from orchestrator.worker.running import Running, starts, told, told_of_death
from orchestrator.worker.stage import answer, as_json
from orchestrator.worker.words import fit

if TYPE_CHECKING:
    from orchestrator.worker.service import Service

LAST_LINES = 200  # of a log, in which a death looks for its cause
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_log = logging.getLogger("fustgo.worker")


class Crew:
    """The runners of a worker, as its loop meets them."""

    def __init__(self, service: Service, pool: Runners) -> None:
        self._service, self.pool = service, pool
        self._database, self._selector = service.database, service.selector
        self._born: list[Runner] = []

    def take(self, key: selectors.SelectorKey, events: int) -> None:
        """Take what a runner has sent, or has said to its stdout and stderr."""
        runner: Runner = key.data
        if self.pool.alive.get(runner.pid) is not runner:
            return  # it was buried a moment ago
        if key.fileobj is runner.ends.connection:
            self._converse(runner, events)
        else:
            self._note(runner)

    def take_news(self) -> None:
        """Bury those who are gone; `welcome` those who were born."""
        born, gone = self.pool.news()
        self._born += born
        for runner, status in gone:
            self._bury(runner, status)
        if gone:
            with self._service.enduring(), self._database.transaction() as connection:
                runners.end(connection, [runner.row for runner, _ in gone], self._service.clock.now())

    def welcome(self) -> None:
        """Enter those who were born and have no row yet, as soon as the store can be reached."""
        born = [runner for runner in self._born if self.pool.alive.get(runner.pid) is runner]
        if born:
            with self._database.transaction() as connection:
                self.enter(connection, born)
        self._born = []
        for runner in born:
            for source in (runner.ends.connection, runner.ends.out, runner.ends.err):
                self._selector.register(source, _READ, runner)
            self.pool.ready(runner)
            metrics.runner_started()

    def enter(self, connection: Any, found: list[Runner]) -> None:
        """Write the rows of runners, which then may get orders."""
        worker, now = self._service.worker, self._service.clock.now()
        for runner in found:
            runner.row = runners.add(connection, worker, runner.pid, runner.start_time, runner.tree, now)

    def send(self, runner: Runner, message: messages.ToRunner) -> None:
        """Say something to a runner; one that does not listen is not waited for."""
        runner.writer.send(message)
        if runner.writer.waits:
            self._watch_for(runner, _READ | _WRITE)

    def _converse(self, runner: Runner, events: int) -> None:
        if events & _WRITE:
            runner.writer.flush()
            if not runner.writer.waits:
                self._watch_for(runner, _READ)
        if not runner.reader.read():
            self._unregister(runner.ends.connection)
        for body in runner.reader.bodies():
            self._hear(runner, messages.to_worker.decode(body))

    def _hear(self, runner: Runner, message: messages.ToWorker) -> None:
        running = self._service.running.get(message.attempt)
        if running is None or running.runner is not runner:
            return
        match message:
            case messages.Ended():
                self._note(runner, ended=True)
                self._service.end(running, told(running, message.report))
                as_new = running.ending is None or message.report.outcome == Outcome.PAUSED
                if as_new and not message.leaves:
                    self.pool.give_back(runner)
                else:
                    self.pool.retire(runner)
            case messages.Moved():
                with contextlib.suppress(AttemptLost), self._service.enduring():
                    steps.progress(self._database, message.attempt, as_json(message.progress))
            case messages.CannotPause():
                _log.info("attempt %s cannot be paused, %s: it goes on", message.attempt, message.reason)
            case _:
                self.send(runner, answer(self._database, message))

    def _bury(self, runner: Runner, status: int) -> None:
        """Take what a runner has left, and tell how its attempt ended."""
        self._converse(runner, _READ)
        running = self._running(runner)
        self._note(runner, ended=True)
        for source in (runner.ends.connection, runner.ends.out, runner.ends.err):
            self._unregister(source)
        runner.ends.close()
        if running is None:
            return
        if status == -signal.SIGKILL and running.ending is None:
            running.why = self._service.watch.kernel_kills()
        said = [entry.get("text", "") for entry in last_lines(running.log, LAST_LINES)]
        report = told_of_death(running, status, said)
        if report is not None:
            self._write(running, "ERROR", report.message.partition("; it said last")[0], last=True)
            report = fit(report, running.secrets)
        self._service.end(running, report)

    def _note(self, runner: Runner, *, ended: bool = False) -> None:
        """What came out of a runner's stdout and stderr, but not by Python, goes into its attempt's log."""
        running = self._running(runner)
        for stream, line in runner.said(ended=ended):
            if running is not None:
                self._write(running, "INFO" if stream == "stdout" else "WARNING", line, stream=stream)
            else:
                secrets = runner.streams[runner.ends.out][1].secrets
                _log.warning("an idle runner (%s) said: %s", runner.pid, secrets.masked(line))
        for source in runner.silent:
            self._unregister(source)

    def _write(self, running: Running, level: str, text: str, *, last: bool = False, **more: str) -> None:
        nodes = running.order.nodes
        node = nodes[0] if len(nodes) == 1 else ""
        with contextlib.suppress(OSError):  # a full disk: the attempt itself will say so
            log = AttemptLog(running.log, self._service.clock, running.secrets)
            if running.runner is not None:
                log.begin("INFO", starts(running.order, processes.host(), running.runner.pid))
            log.write(level, text, node=node, last=last, **more)
            log.close()

    def _running(self, runner: Runner) -> Running | None:
        return self._service.running.get(runner.attempt) if runner.attempt is not None else None

    def _watch_for(self, runner: Runner, events: int) -> None:
        with contextlib.suppress(KeyError, ValueError):  # it has ended, and is about to be buried
            self._selector.modify(runner.ends.connection, events, runner)

    def _unregister(self, source: socket.socket | int) -> None:
        with contextlib.suppress(KeyError, ValueError):  # it has ended before
            self._selector.unregister(source)
