"""Warm runners, one a slot: taken for an attempt, given back, replaced when they are not as new.

A runner serves the tree of its first order. What was cancelled, crashed, grew past a bound, or serves a tree
that nobody asks for, is killed and replaced; a fork takes ten milliseconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.sdk.lines import Lines
from orchestrator.sdk.secrets import Secrets
from orchestrator.store import processes
from orchestrator.worker.forks import Ends, Exited, Forked, Zygote, ZygoteDied
from orchestrator.worker.logs import LONGEST
from orchestrator.worker.memory import resident
from orchestrator.worker.messages import Reader, Writer

_READ, _CHUNKS = 1 << 16, 16  # a pipe holds one; who floods it waits
_log = logging.getLogger("fustgo.worker")


@dataclass(eq=False)
class Runner:
    """A living child. `row` is its row's id, `tree` what it serves (None: it has served nothing), `silent`
    the streams that have ended.
    """

    pid: int
    start_time: str
    ends: Ends
    row: int = 0
    tree: str | None = None
    attempt: int | None = None
    silent: set[int] = field(default_factory=set)
    reader: Reader = field(init=False)
    writer: Writer = field(init=False)
    streams: dict[int, tuple[str, Lines]] = field(init=False)

    def __post_init__(self) -> None:
        self.reader, self.writer = Reader(self.ends.connection), Writer(self.ends.connection)
        self.streams = {
            descriptor: (name, Lines(LONGEST, Secrets()))
            for descriptor, name in ((self.ends.out, "stdout"), (self.ends.err, "stderr"))
        }

    def begin(self, attempt: int, secrets: Secrets) -> None:
        """From now on it executes this attempt; its words are without these secrets."""
        self.attempt = attempt
        for _, lines in self.streams.values():
            lines.secrets = secrets

    def said(self, *, ended: bool = False) -> Iterator[tuple[str, str]]:
        """What has come out of its stdout and stderr, line by line, each with the stream's name.

        `ended`: its attempt has, so that a line without an end is whole.
        """
        for descriptor, (name, lines) in self.streams.items():
            with contextlib.suppress(BlockingIOError):
                for _ in range(_CHUNKS):
                    chunk = os.read(descriptor, _READ)
                    if not chunk:
                        self.silent.add(descriptor)
                        break
                    yield from ((name, line) for line in lines.cut(chunk))
            if ended:
                yield from ((name, line) for line in lines.rest())

    def kill(self) -> None:
        """Kill it with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Runners:
    """The runners of one worker; `slots` of them are alive or on their way."""

    def __init__(
        self, slots: int, environ: Mapping[str, str], *, level: str, lease: float, recycle_above: int
    ) -> None:
        """Start them."""
        self._slots, self._recycle_above = slots, recycle_above
        self._environ, self._level, self._lease = dict(environ), level, lease
        self._idle: list[Runner] = []
        self._leaving: dict[int, Runner] = {}
        self.alive: dict[int, Runner] = {}
        self.zygote = self._start()
        self.refill()

    def news(self) -> tuple[list[Runner], list[tuple[Runner, int]]]:
        """The runners that were born (enter them with `ready` when their rows are written), and those that
        are gone, each with its exit status.
        """
        born: list[Runner] = []
        gone: list[tuple[Runner, int]] = []
        try:
            for event in self.zygote.news():
                match event:
                    case Forked(pid, ends):
                        runner = Runner(pid, processes.start_time(pid) or "", ends)
                        self.alive[pid] = runner
                        born.append(runner)
                    case Exited(pid, status):
                        gone += self._gone(pid, status)
        except ZygoteDied as error:
            _log.error("%s: it is started again", error.message)
            self.zygote.close()
            gone += [found for pid in list(self.alive) for found in self._gone(pid, -signal.SIGKILL)]
            self.zygote = self._start()
        self.refill()
        return born, gone

    def ready(self, runner: Runner) -> None:
        """It has its row: from now on it may get an order."""
        if runner.pid in self.alive:
            self._idle.append(runner)

    def take(self, tree: str) -> Runner | None:
        """A runner for an order of this tree; None where one is on its way."""
        for wanted in (tree, None):
            for runner in self._idle:
                if runner.tree == wanted:
                    self._idle.remove(runner)
                    runner.tree = tree
                    return runner
        if self._idle and not self.zygote.asked:
            self.retire(self._idle[0])  # it serves another tree, and is longest unused
        return None

    def give_back(self, runner: Runner) -> None:
        """Its attempt is over; one that closed its own stdout, or grew, is not as new."""
        runner.attempt = None
        if runner.silent or resident(runner.pid) > self._recycle_above:
            self.retire(runner)
        else:
            self._idle.append(runner)

    def retire(self, runner: Runner) -> None:
        """Kill it; another one comes in its place."""
        if runner in self._idle:
            self._idle.remove(runner)
        self._leaving[runner.pid] = runner
        runner.kill()
        self.refill()

    def refill(self) -> None:
        """Ask for as many as are missing."""
        while len(self.alive) - len(self._leaving) + self.zygote.asked < self._slots:
            self.zygote.fork()

    def close(self) -> None:
        """End them all; returns when they are gone."""
        self.zygote.close()
        for runner in self.alive.values():
            runner.ends.close()
        wait_for_ends(
            [(runner.pid, runner.start_time) for runner in self.alive.values()], seconds=self._lease
        )
        self.alive.clear()

    def _gone(self, pid: int, status: int) -> Iterator[tuple[Runner, int]]:
        runner = self.alive.pop(pid, None)
        self._leaving.pop(pid, None)
        if runner is not None:
            if runner in self._idle:
                self._idle.remove(runner)
            runner.kill()  # what it has started may live
            yield runner, status

    def _start(self) -> Zygote:
        return Zygote(self._environ, level=self._level, lease=self._lease)


def wait_for_ends(found: Collection[tuple[int, str]], *, seconds: float) -> bool:
    """Kill processes, each known by pid and start time, with their groups, and wait until they are gone.

    False where one is not gone after so many seconds: the kernel holds it.
    """
    poll = select.poll()
    waited = 0
    for pid, start_time in found:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if processes.start_time(pid) != start_time:
            os.close(descriptor)  # another one by now
            continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        poll.register(descriptor, select.POLLIN)
        waited += 1
    while waited:
        ended = poll.poll(seconds * 1000)
        if not ended:
            return False
        for descriptor, _ in ended:
            poll.unregister(descriptor)
            os.close(descriptor)
            waited -= 1
    return True
