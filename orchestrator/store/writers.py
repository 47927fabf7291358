"""The queue of those who write to one SQLite file (rule 8.12).

SQLite's own waiting is a lottery: its busy handler let one of four writers wait two seconds. So writers
queue on an exclusive `flock` beside the database. The lock file names its last holder's pid and start
time; who has waited a lease kills a holder that was suspended inside its transaction.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from orchestrator.store import processes

LEASE = 30.0  # seconds
_log = logging.getLogger("fustgo.store")
_LINE = 96  # bytes: the holder's line has a fixed width, so that it is written in one piece


class WriterQueue:
    """One process's place in the queue. Threads of the process queue before its lock."""

    def __init__(self, path: Path, lease: float = LEASE) -> None:
        """Open the lock file, readable by its owner only; raises OSError."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lease = lease
        self._threads = threading.Lock()
        self._owner: int | None = None
        self._name = "{} {}".format(*processes.this_process()).ljust(_LINE - 1).encode() + b"\n"

    @property
    def held(self) -> bool:
        """Whether a thread of this process is writing."""
        return self._owner is not None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn to write, and hold it."""
        if self._owner == threading.get_ident():
            raise RuntimeError("a transaction was opened inside another one of the same thread")
        with self._threads:
            self._lock()
            self._owner = threading.get_ident()
            try:
                os.pwrite(self._file, self._name, 0)
                yield
            finally:
                self._owner = None
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def holder(self) -> tuple[int, str]:
        """Pid and start time of who wrote last, or writes now; (0, "") before anybody did."""
        pid, _, started = os.pread(self._file, _LINE, 0).decode().strip().partition(" ")
        return int(pid or 0), started

    def close(self) -> None:
        """Give up the place."""
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            got_it = threading.Event()
            threading.Thread(target=self._watch, args=(got_it,), daemon=True).start()
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            finally:
                got_it.set()

    def _watch(self, got_it: threading.Event) -> None:
        while not got_it.wait(self._lease):
            pid, started = self.holder()
            if processes.is_stopped(pid) and processes.start_time(pid) == started:
                _log.warning(
                    "process %s was stopped while it wrote to the store; others waited for %g s, the lease "
                    "(worker.lease): it is killed, and nothing of that write is kept",
                    pid,
                    self._lease,
                )
                os.kill(pid, signal.SIGKILL)
