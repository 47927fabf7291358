"""What an attempt leaves in its runner, which the next one must not find."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time

LINGER = 0.05  # seconds in which the threads of a pool that is let go may end
_NAMED = 3  # of many threads
_libc = ctypes.CDLL(None)


class Traces:
    """Looks after one runner, made before its first attempt. Variables and the working folder are put back;
    whoever may still run and speak (threads, child processes) cannot be, and is told of.
    """

    def __init__(self) -> None:
        self._folder = os.open(".", os.O_PATH | os.O_CLOEXEC)  # by descriptor: it may have lost its name
        self._environ = _environ().copy()
        self._threads = set(threading.enumerate())

    def enter(self, project: str) -> None:
        """Go to the folder of an attempt; where it is absent, the node that needs it says so."""
        try:
            os.chdir(project)
        except OSError:
            os.chdir(self._folder)

    def remove(self) -> str:
        """Tidy up after an attempt; what is left of it in words, empty where there is nothing."""
        _libc.fflush(None)  # what C code has printed is said now
        if _environ() != self._environ:
            os.environb.clear()
            os.environb.update(self._environ)
        left = [*self._threads_left(), *(["child processes"] if _has_children() else [])]
        return " and ".join(left)

    def _threads_left(self) -> list[str]:
        if threading.active_count() == len(self._threads):
            return []
        # A dummy is a thread of native code, a pool of a library, that called Python once.
        left = [
            thread
            for thread in threading.enumerate()
            if thread not in self._threads and not isinstance(thread, threading._DummyThread)
        ]
        end = time.monotonic() + LINGER
        for thread in left:
            thread.join(max(0.0, end - time.monotonic()))
        left = [thread for thread in left if thread.is_alive()]
        named = ", ".join(thread.name for thread in left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
        return [f"{len(left)} thread{'s' * (len(left) > 1)} ({named})"] if left else []


def _environ() -> dict[bytes, bytes]:
    """What lies under `os.environ`: compared in a microsecond, where the mapping itself takes forty."""
    held: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return held


def _has_children() -> bool:
    """Whether there are child processes that nobody has waited for."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False
