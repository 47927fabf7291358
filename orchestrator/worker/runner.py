"""A runner: a child process that runs attempts, one at a time, of one tree of code.

It never sees the metadata database: what the store does for an attempt, the worker does on its word, over
the connection. A thread listens to the worker: at the end of the stream the worker is gone, and this
process ends at once with all that it has started.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import select
import signal
import socket
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from orchestrator.clock import Clock, SystemClock
from orchestrator.engine import pipeline
from orchestrator.engine.boundary import authors_frame, is_refusal, words_of
from orchestrator.engine.progress import StageProgress
from orchestrator.engine.signals import Signals
from orchestrator.errors import AttemptLost, FustgoError, OperatorError, StoreError
from orchestrator.runs.checkpoint import Checkpoint, Decision
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.sdk.registry import Registry
from orchestrator.worker import messages
from orchestrator.worker.left import Traces
from orchestrator.worker.logs import AttemptLog
from orchestrator.worker.running import secrets_of, starts
from orchestrator.worker.voices import Voices
from orchestrator.worker.words import fit

SHOW_SECONDS = 1.0
SHORT_SECONDS = 0.02  # an attempt so short is not kept waiting for its log file


@dataclass(frozen=True)
class Surroundings:
    """What every runner of a zygote has: made once, before the first is forked. `lease` is in seconds."""

    registry: Registry
    clock: Clock
    host: str
    level: str
    lease: float

    @classmethod
    def of_this_process(cls, level: str, lease: float) -> Surroundings:
        """Look up which operators there are (none is imported), and where this is."""
        return cls(Registry(), SystemClock(), socket.gethostname(), level, lease)


def serve(connection: socket.socket, around: Surroundings) -> NoReturn:
    """Run the attempts that come, until the worker is gone."""
    faulthandler.enable()  # a crash of native code says where: into stderr, and so into the log
    voices = Voices(around.level)
    link = Link(connection, around, voices)
    traces = Traces()
    while True:
        _run(*link.orders.get(), link, voices, traces, around)


class Link:
    """The runner's end of the connection."""

    def __init__(self, connection: socket.socket, around: Surroundings, voices: Voices) -> None:
        self._connection, self._around, self._voices = connection, around, voices
        connection.settimeout(around.lease)
        self._sending = threading.Lock()
        self.orders: queue.SimpleQueue[tuple[messages.Execute, Signals]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[messages.ToRunner] = queue.SimpleQueue()
        self._attempt, self.signals = 0, Signals()
        threading.Thread(target=self._listen, daemon=True, name="worker").start()

    def send(self, message: messages.ToWorker) -> None:
        """Tell the worker; one that takes nothing for a lease is as good as gone.

        Raises OperatorError for values of an author's code that are no JSON text.
        """
        try:
            frame = messages.frame(message)
        except (TypeError, ValueError) as error:  # half a surrogate pair, or what msgspec does not know
            said = f"what this stage leaves cannot be kept as JSON: {error}"
            raise OperatorError(said, hint="leave texts, numbers, lists and dicts", retry=False) from error
        try:
            with self._sending:
                self._connection.sendall(frame)
        except OSError:
            end_with_all()

    def ask(self, message: messages.ToWorker) -> messages.ToRunner:
        """The worker's answer; one that does not answer for a lease is as good as gone.

        Raises AttemptLost where the attempt was taken away, StoreError where the store refused.
        """
        self.send(message)
        try:
            answer = self._answers.get(timeout=self._around.lease)
        except queue.Empty:
            end_with_all()
        if isinstance(answer, messages.Refused):
            raise (AttemptLost if answer.lost else StoreError)(answer.message, hint=answer.hint)
        return answer

    def end(self, report: Report, *, leaves: bool) -> None:
        """Tell how the attempt ended, and whether something of it may still run."""
        try:
            self.send(messages.Ended(self._attempt, report, leaves))
        except OperatorError as error:
            self.send(messages.Ended(self._attempt, pipeline.failure(error), leaves))

    def _listen(self) -> None:
        reader = messages.Reader(self._connection)
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while True:
            poll.poll()
            going_on = reader.read()
            for body in reader.bodies():
                self._take(messages.to_runner.decode(body))
            if not going_on:
                end_with_all()

    def _take(self, message: messages.ToRunner) -> None:
        if isinstance(message, messages.Execute):
            # Here, not when it begins: a stop may be right behind its order.
            self._attempt, self.signals = message.attempt, Signals()
            self.orders.put((message, self.signals))
        elif message.attempt != self._attempt:
            return  # it came too late
        elif isinstance(message, messages.Stop):
            self._voices.say("INFO", f"asked to stop {'at once' if message.at_once else 'at a savepoint'}")
            self.signals.cancel() if message.at_once else self.signals.pause()
        else:
            self._answers.put(message)


class RemotePort:
    """The engine's port: the worker does it, over the connection."""

    def __init__(self, link: Link, attempt: int, voices: Voices, clock: Clock) -> None:
        self._link, self._attempt, self._voices, self._clock = link, attempt, voices, clock
        self._shown_at = clock.monotonic()

    def opened(self) -> Checkpoint:
        answer = self._link.ask(messages.Open(self._attempt))
        assert isinstance(answer, messages.Opened)
        return answer.checkpoint

    def decide(self, decision: Decision) -> None:
        self._link.ask(messages.Decide(self._attempt, decision))

    def applied(self, epoch: int) -> None:
        self._link.ask(messages.Applied(self._attempt, epoch))

    def progress(self, progress: StageProgress) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at >= SHOW_SECONDS:
            self._shown_at = now
            self._link.send(messages.Moved(self._attempt, progress))

    def cannot_pause(self, reason: str) -> None:
        self._voices.say("WARNING", f"it cannot be paused, {reason}: it goes on to its end")
        self._link.send(messages.CannotPause(self._attempt, reason))


def _run(
    execute: messages.Execute,
    signals: Signals,
    link: Link,
    voices: Voices,
    traces: Traces,
    around: Surroundings,
) -> None:
    """Run one order to its end, whatever its code does, and tell the worker."""
    order = execute.order
    node = order.nodes[0] if len(order.nodes) == 1 else ""
    secrets = secrets_of(order)
    log = AttemptLog(Path(execute.log), around.clock, secrets)
    log.begin("INFO", starts(order, around.host, os.getpid()))
    voices.listen(log, node)
    began = around.clock.monotonic()
    traces.enter(order.project)
    report = fit(_attempt(order, link, voices, around, signals), secrets)
    if left := traces.remove():
        voices.say("WARNING", f"it has left {left} behind: its process is ended, and they with it")
    if voices.finish() or around.clock.monotonic() - began > SHORT_SECONDS:
        voices.tell(report)
        link.end(report, leaves=bool(left))
    else:  # its log is still to be made: nobody waits for that
        link.end(report, leaves=bool(left))
        voices.tell(report)


def _attempt(order: Order, link: Link, voices: Voices, around: Surroundings, signals: Signals) -> Report:
    def tell(error: FustgoError) -> None:
        cause = error.__cause__ or error
        if not is_refusal(cause):
            voices.say("ERROR", "".join(traceback.format_exception(cause)).rstrip())
        elif error.hint:
            voices.say("ERROR", f"hint: {error.hint}")

    surroundings = pipeline.Surroundings(around.registry, around.clock, around.host, signals, tell)
    port = RemotePort(link, order.attempt, voices, around.clock)
    try:
        return pipeline.run_attempt(order, port, surroundings)
    except BaseException as error:
        voices.say("ERROR", "".join(traceback.format_exception(error)))
        whose = "code of this stage raised" if authors_frame(error) is not None else "internal error:"
        said = f"{whose} {words_of(error)}"
        return Report(Outcome.FAILED, said, hint="the log has its traceback", exit_code=1)


def end_with_all() -> NoReturn:
    """End this process at once, and all that it has started: nobody is there to hear of it."""
    os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)
