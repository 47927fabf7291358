"""The worker's hold on its zygote: it asks for runners, and hears of those that are gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.errors import StoreError
from orchestrator.forking import scrubbed


@dataclass(frozen=True)
class Ends:
    """The worker's ends of what joins it to a runner."""

    connection: socket.socket
    out: int
    err: int

    def close(self) -> None:
        """Let go of them; to a living runner that is the end of its worker."""
        self.connection.close()
        os.close(self.out)
        os.close(self.err)


@dataclass(frozen=True)
class Forked:
    """A runner lives."""

    pid: int
    ends: Ends


@dataclass(frozen=True)
class Exited:
    """A runner is gone: `status` is its exit code, negative for the signal that killed it."""

    pid: int
    status: int


News: TypeAlias = Forked | Exited


class Zygote:
    """A running zygote."""

    def __init__(self, environ: Mapping[str, str], *, level: str = "INFO", lease: float = 30.0) -> None:
        """Start it; what it imports, it imports meanwhile."""
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked: deque[Ends] = deque()
        with other:
            self._process = subprocess.Popen(
                # -P: the folder that this was started in is no place to import from
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "orchestrator.worker.zygote",
                    str(other.fileno()),
                    level,
                    str(lease),
                ],
                env=scrubbed(environ),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is the worker's to act on
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def asked(self) -> int:
        """How many runners are on their way."""
        return len(self._asked)

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._control.fileno()

    def fork(self) -> None:
        """Ask for a runner; it comes with the news."""
        mine, its = socket.socketpair()
        mine.setblocking(False)
        out, its_out = os.pipe2(os.O_CLOEXEC)
        err, its_err = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(out, False)
        os.set_blocking(err, False)
        self._asked.append(Ends(mine, out, err))
        with its, contextlib.suppress(ConnectionError):  # a dead zygote shows at the reading end
            socket.send_fds(self._control, [b"+"], [its.fileno(), its_out, its_err])
        os.close(its_out)
        os.close(its_err)

    def news(self) -> Iterator[News]:
        """What has happened since the last call, without waiting. Raises StoreError where it has died."""
        while True:
            try:
                said = self._control.recv(4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                said = b""
            if not said:
                status = self._process.wait()
                raise ZygoteDied(f"the process that forks runners has died ({status})")
            event = json.loads(said)
            if "forked" in event:
                yield Forked(event["forked"], self._asked.popleft())
            else:
                yield Exited(event["exited"], event["status"])

    def close(self) -> None:
        """End it and, with it, every runner; returns when they are gone."""
        self._control.close()
        for ends in self._asked:
            ends.close()
        self._asked.clear()
        self._process.wait()


class ZygoteDied(StoreError):
    """The zygote is gone, and its runners with it."""
