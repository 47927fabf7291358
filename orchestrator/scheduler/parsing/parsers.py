"""The scheduler's hold on the process that reads DAG files: so many files at once, each with its time.

What a file does while it is read costs that file only: it ends, hangs, or eats memory in a fork of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from orchestrator.errors import StoreError
from orchestrator.forking import scrubbed
from orchestrator.readiness import readable
from orchestrator.scheduler.bundles import Interrupted
from orchestrator.store.loading import Loaded

AT_ONCE = 2  # files
IDLE = 60.0  # seconds without a file after which the process that reads them is let go
LARGEST = 64 << 20  # bytes of what a file may define
BRIEF = 0.4  # seconds of reading that are lost lightly
LATE = 30.0  # seconds that an answer may be late before the process that owes it is taken for dead
_LOOK_EVERY = 5.0
_ENDS_WITHIN = 5.0  # seconds
_ENDED_IT = "it ended the process that starts readers"


class ReaderDied(StoreError):
    """The process that reads DAG files is gone, and what it was reading with it."""


@dataclass(frozen=True)
class Parsed:
    """What a file holds, or the `error` that keeps it from being loaded; paths in it are of the frozen tree.

    `imports` are the modules of the tree that it has imported, by their paths below it, apart from itself
    and from plugins. Where there is an error they are those until then, none where its process was ended, and
    what it did not find is not among them: read such a file again whenever anything has changed. `slow`: it
    was given up.
    `seconds`: how long reading it has taken.
    """

    file: str
    dags: tuple[Loaded, ...] = ()
    imports: frozenset[str] = frozenset()
    error: str | None = None
    slow: bool = False
    seconds: float = 0.0


class Parsers:
    """Reads DAG files of frozen trees, two at a time; as a context, nothing is left of it at its end.

    They are read in the folder `project`. `stop` is a descriptor that becomes readable when all has to end.
    """

    def __init__(self, project: Path, stop: int) -> None:
        """Nothing is started yet."""
        self._project, self._stop = project, stop
        self._process: _Process | None = None
        self._used = 0.0
        self.given_up: list[str] = []

    def warm(self) -> None:
        """Start now what files will be read with: it needs a second. Raises StoreError where it cannot be."""
        self._running()

    def rest(self) -> float | None:
        """Let the process go that has read nothing for a minute; else the seconds until then."""
        if self._process is None:
            return None
        left = self._used + IDLE - time.monotonic()
        if left <= 0:
            self.close()
            return None
        return left

    def parse(self, tree: Path, files: Sequence[str], patience: float) -> Iterator[Parsed]:
        """What each of the files below the tree holds, as they are done; each has `patience` seconds.

        Raises Interrupted when `stop` becomes readable, StoreError where no file can be read at all. What is
        under way then, or when nobody asks on, is given up: `given_up` are those that had begun to take long.
        """
        with contextlib.closing(self.attend(tree, files, patience)) as reading:
            for parsed in reading:
                if parsed is None:
                    self._wait()
                else:
                    yield parsed

    def attend(
        self, tree: Path, files: Sequence[str], patience: float
    ) -> Generator[Parsed | None, None, None]:
        """As `parse`, but who asks waits for nothing: None where there is nothing to tell now."""
        queue = _Queue(files)
        self.given_up = []
        try:
            while queue.left:
                process = self._running()
                self._feed(process, queue, tree, patience)
                try:
                    for end in process.ended():
                        queue.done(end.file)
                        self._feed(process, queue, tree, patience)
                        yield end.parsed(tree, patience)
                    process.must_answer(patience)
                    if queue.left:
                        yield None
                except ReaderDied:
                    self.close()
                    if (guilty := queue.died()) is not None:
                        yield Parsed(guilty, error=f"{tree / guilty}: {_ENDED_IT}")
        finally:
            self._used = time.monotonic()
            if queue.under_way and self._process is not None:
                self.given_up = self._process.taking_long()
                if not self._process.give_up():
                    self.close()

    def _feed(self, process: _Process, queue: _Queue, tree: Path, patience: float) -> None:
        for file in queue.take():
            process.ask(tree, file, patience)

    def _wait(self) -> None:
        """Wait for what it has to tell, and look at it now and then."""
        heard = [self._stop] if self._process is None else [self._process.fileno(), self._stop]
        if self._stop in readable(heard, _LOOK_EVERY):
            raise Interrupted

    def fileno(self) -> int:
        """Readable when what is attended to has news; where nothing is, when `stop` is."""
        return self._stop if self._process is None else self._process.fileno()

    def _running(self) -> _Process:
        if self._process is None:
            self._process = _Process(self._project)
            self._used = time.monotonic()
        return self._process

    def close(self) -> None:
        """End the process and all that it has started; it is started again when files are to be read."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Queue:
    """The files that are left. When the process dies that was reading several, each of them may be why: they
    are read again one at a time, and the one that it dies of then is known.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = deque(files)
        self._suspects = deque[str]()
        self.under_way = list[str]()

    @property
    def left(self) -> bool:
        return bool(self._files or self._suspects or self.under_way)

    def take(self) -> Iterator[str]:
        """The files to begin now."""
        source, limit = (self._suspects, 1) if self._suspects else (self._files, AT_ONCE)
        while source and len(self.under_way) < limit:
            self.under_way.append(source.popleft())
            yield self.under_way[-1]

    def done(self, file: str) -> None:
        self.under_way.remove(file)

    def died(self) -> str | None:
        """The process is gone: the file that it has died of, None where it is not known."""
        alone = self.under_way[0] if len(self.under_way) == 1 else None
        if alone is None:
            self._suspects.extend(self.under_way)
        self.under_way.clear()
        return alone


class _Process:
    """A running zygote."""

    def __init__(self, project: Path) -> None:
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._answers: dict[str, tuple[int, float]] = {}  # with when it was asked for
        self._ready = False
        command = [sys.executable, "-P", "-m", "orchestrator.scheduler.parsing.zygote", str(other.fileno())]
        # A file is read by one thread; a library of two at work for each core would only be in the way.
        environ = {"POLARS_MAX_THREADS": "1", **scrubbed(os.environ)}
        with other:
            try:
                self._process = subprocess.Popen(
                    command,
                    env=environ,
                    cwd=project,
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # what files print is for the log
                    start_new_session=True,  # a Ctrl-C is the scheduler's to act on
                )
            except OSError as error:
                self._control.close()
                raise StoreError(f"DAG files cannot be read in {project}: {error.strerror}") from error

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._control.fileno()

    def ask(self, tree: Path, file: str, patience: float) -> None:
        """Have a file read."""
        request = json.dumps({"tree": str(tree), "file": file, "patience": patience}).encode()
        answer = os.memfd_create("answer", os.MFD_CLOEXEC)
        self._answers[file] = (answer, time.monotonic())
        with contextlib.suppress(ConnectionError):  # a dead zygote shows at the reading end
            socket.send_fds(self._control, [request], [answer])

    def ended(self) -> Iterator[_End]:
        """The files that are done, without waiting. Raises ReaderDied where it has died, StoreError where it
        has never lived.
        """
        while True:
            try:
                said = self._control.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                said = b""
            if not said:
                self._has_died()
            news: dict[str, Any] = json.loads(said)
            self._ready = True
            if news:
                descriptor, asked = self._answers.pop(news["file"])
                with os.fdopen(descriptor, "rb") as answer:
                    answer.seek(0)
                    said = answer.read(LARGEST + 1)
                yield _End(answer=said, seconds=time.monotonic() - asked, **news)

    def must_answer(self, patience: float) -> None:
        """Raises ReaderDied where it owes an answer for longer than anything may take."""
        oldest = min((asked for _, asked in self._answers.values()), default=None)
        if oldest is not None and oldest + patience + LATE < time.monotonic():
            self._process.kill()
            raise ReaderDied("the process that reads DAG files has stopped")

    def taking_long(self) -> list[str]:
        """What has been under way for longer than is lost lightly."""
        began = time.monotonic() - BRIEF
        return [file for file, (_, asked) in self._answers.items() if asked < began]

    def give_up(self) -> bool:
        """End all that is under way; False where it is not in a state to do so soon."""
        with contextlib.suppress(ReaderDied, ConnectionError):
            self._control.send(b"{}")
            while self._answers and self._ready and readable([self._control.fileno()], _ENDS_WITHIN):
                for _ in self.ended():
                    pass
        return not self._answers

    def _has_died(self) -> NoReturn:
        status = self._process.wait()
        if not self._ready:
            raise StoreError(f"the process that reads DAG files cannot start ({_how(status)})")
        raise ReaderDied(f"the process that reads DAG files has died ({_how(status)})")

    def close(self) -> None:
        """End it and, with it, all that it has started; returns when it is gone."""
        self._control.close()
        for answer, _ in self._answers.values():
            os.close(answer)
        self._answers.clear()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_WITHIN)
            return
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class _End:
    """How the reading of a file has ended: with an answer, or the `status` of a process that gave none."""

    file: str
    answer: bytes
    status: int
    slow: bool
    seconds: float

    def parsed(self, tree: Path, patience: float) -> Parsed:
        """The answer as a value, or how the file has kept itself from giving one."""
        if self.status == 0 and 0 < len(self.answer) <= LARGEST:
            try:
                return self._value(json.loads(self.answer))
            except (ValueError, TypeError, KeyError, AttributeError):
                how = "it wrote to a descriptor that is not its own"
        elif self.answer and self.status == 0:
            how = f"what it defines is larger than {LARGEST >> 20} MiB"
        elif self.slow:
            how = f"reading it has not ended after {patience:g} s"
        else:
            how = f"it ended the process that read it ({_how(self.status)})"
        return Parsed(self.file, error=f"{tree / self.file}: {how}", slow=self.slow, seconds=self.seconds)

    def _value(self, found: dict[str, Any]) -> Parsed:
        dags = (
            Loaded(dag["id"], self.file, dag["hash"], dag["document"], dag["stages"], dag["params"])
            for dag in found.get("dags", ())
        )
        imports, error = frozenset(found["imports"]), found.get("error")
        return Parsed(self.file, tuple(dags), imports, error, seconds=self.seconds)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
