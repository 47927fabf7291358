"""The zygote that reads DAG files: each in a fork of its own, which can harm nothing but its own answer.

It has imported what reading needs, and never runs code of users itself. Its environment has no `FUSTGO_*`,
its working folder is the project. Run as `python -P -m orchestrator.scheduler.parsing.zygote FD`, where FD
is a socket to the scheduler:

    scheduler -> zygote   {"tree", "file", "patience"}, with an empty file in memory for the answer
                          {} where nobody wants to know any more what is under way
    zygote -> scheduler   {} once it is ready; {"file", "status", "slow"} when a fork is gone

A fork has `patience` seconds; with it goes what it has started. At the end of the stream the scheduler is
gone: so are the forks, and the zygote.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from orchestrator.forking import be_a_fork, inherit_orphans, wake_on_exits

if TYPE_CHECKING:
    from orchestrator.sdk.registry import Registry

LONGEST = 1 << 16  # bytes of a message


@dataclass
class Reader:
    """A fork that reads a file. `deadline` is on the monotonic clock."""

    file: str
    deadline: float
    slow: bool = False


class Zygote:
    """The zygote at work."""

    def __init__(self, control: socket.socket) -> None:
        """Import everything, and say so."""
        from orchestrator.scheduler.parsing.reading import prepare

        self._control, self._readers = control, dict[int, Reader]()
        self._registry = prepare()
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of forks beside threads that idle
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        inherit_orphans()
        self._ears = wake_on_exits()
        gc.collect()
        gc.freeze()  # what is shared with the forks is not written to by a collection
        self._tell({})

    def run(self) -> NoReturn:
        """Read what the scheduler asks for, until it is gone."""
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._ears):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(self._wait()):
                if descriptor == self._ears:
                    os.read(self._ears, 4096)
                    self._reap()
                else:
                    self._take()
            self._end_late()

    def _wait(self) -> float | None:
        """Milliseconds until a fork has had its time."""
        left = [reader.deadline for reader in self._readers.values() if not reader.slow]
        return max(0.0, min(left) - time.monotonic()) * 1000 + 1 if left else None

    def _end_late(self) -> None:
        now = time.monotonic()
        for pid, reader in self._readers.items():
            if not reader.slow and reader.deadline <= now:
                reader.slow = True
                _kill_group(pid)

    def _take(self) -> None:
        said, ends = b"", list[int]()
        with contextlib.suppress(ConnectionError):
            said, ends, _, _ = socket.recv_fds(self._control, LONGEST, 1)
        if not said:
            self._end()
        if request := json.loads(said):
            self._fork(request, *ends)
        else:
            self._kill_readers()

    def _fork(self, request: dict[str, Any], answer: int) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            _read(zygote, request, answer, self._registry)
        os.close(answer)
        with contextlib.suppress(OSError):  # the child does so too: who is first counts
            os.setpgid(pid, pid)
        self._readers[pid] = Reader(request["file"], time.monotonic() + request["patience"])

    def _kill_readers(self) -> None:
        for pid in self._readers:
            _kill_group(pid)

    def _reap(self) -> None:
        """Report the forks that are gone; what they leave behind goes before that. Who has left their groups
        is ours by now, and ended when nobody reads whom it may belong to.
        """
        ended = []
        while (gone := _exited()) is not None:
            if gone in self._readers:
                _kill_group(gone)  # while its number is taken by itself
            _, status = os.waitpid(gone, 0)
            if reader := self._readers.pop(gone, None):
                ended.append((reader, os.waitstatus_to_exitcode(status)))
        if not self._readers:
            _kill_children()
        for reader, code in ended:
            self._tell({"file": reader.file, "status": code, "slow": reader.slow})

    def _tell(self, news: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(news).encode())
        except ConnectionError:
            self._end()

    def _end(self) -> NoReturn:
        """The scheduler is gone: nobody is left who wants to know. Who has got away is still found."""
        self._kill_readers()
        with contextlib.suppress(ChildProcessError):
            while True:
                _kill_children()
                os.waitpid(-1, 0)
        os._exit(0)


def _exited() -> int | None:
    """A child that has exited; its number stays taken until it is waited for."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _kill_group(pid: int) -> None:
    """End a fork, also one that has left its group, and what is in it."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _kill_children() -> None:
    """End every child of this process, as far as the kernel lists them."""
    with contextlib.suppress(OSError):
        for listed in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
            for child in listed.read_text(encoding="ascii").split():
                with contextlib.suppress(ProcessLookupError, PermissionError):  # the others have to go too
                    os.kill(int(child), signal.SIGKILL)


def _read(zygote: int, request: dict[str, Any], answer: int, registry: Registry) -> NoReturn:
    """Be the fork that reads a file. Its answer is written when the file has nothing more to say."""
    try:
        be_a_fork(zygote)
        this = os.getpid()

        from orchestrator.scheduler.parsing.reading import read_file

        found = read_file(Path(request["tree"]), request["file"], registry)
        text = json.dumps(found).encode()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the file may have closed or replaced it
                stream.flush()
        if os.getpid() == this:  # else a fork that the file has made, and let return
            os.ftruncate(answer, 0)
            _write(answer, text)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _write(descriptor: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], written)


if __name__ == "__main__":
    Zygote(socket.socket(fileno=int(sys.argv[1]))).run()
