"""Keeps services alive as child processes, forked from this one before it does anything itself.

A service that dies is started again, later each time; one that ends well was drained, and stays away. Asked
to end, all are asked, and waited for. Where this process is killed, the kernel asks them in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import FustgoError

Ready = Callable[[str], None]
Serve = Callable[[Ready], int]

FIRST_WAIT = 0.5  # seconds before a service that died is started again; doubled each time
LONGEST_WAIT = 30.0
_STABLE = 60.0  # seconds after which a death is no longer counted with those before
_SET_PDEATHSIG = 1
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class _Service:
    name: str
    serve: Serve
    pid: int = 0
    deaths: int = 0
    began: float = 0.0
    again_at: float | None = 0.0
    is_ready: bool = False


@dataclass
class Supervisor:
    """Runs these services until it is asked to end; `all_ready` is called once, when each has said so."""

    services: Mapping[str, Serve]
    all_ready: Callable[[], None]
    _wanted: int = 0
    _asked: int = 0
    _code: int = 0
    _children: list[_Service] = field(default_factory=list)
    _readers: dict[int, _Service] = field(default_factory=dict)

    def run(self) -> int:
        """Supervise; the exit code: 0, or that of a service that could not begin."""
        self._children = [_Service(name, serve) for name, serve in self.services.items()]
        gc.collect()
        gc.freeze()  # what is imported stays shared with the children
        with self._signals() as woken:
            while self._living() or (not self._asked and self._due()):
                if not self._asked:
                    self._start_due()
                ready, _, _ = select.select([woken, *self._readers], [], [], self._patience())
                if woken in ready:
                    os.read(woken, 4096)
                    self._pass_on()
                self._hear(set(ready) - {woken})
                self._reap()
        return self._code

    def _living(self) -> list[_Service]:
        return [service for service in self._children if service.pid]

    def _due(self) -> bool:
        """Whether a service is to be started."""
        return any(service.again_at is not None for service in self._children)

    def _patience(self) -> float | None:
        waits = [service.again_at for service in self._children if service.again_at is not None]
        return max(0.0, min(waits) - time.monotonic()) if waits and not self._asked else None

    def _start_due(self) -> None:
        now = time.monotonic()
        for service in self._children:
            if service.again_at is not None and service.again_at <= now:
                self._start(service)

    def _start(self, service: _Service) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _be(service, parent, writing)
        os.close(writing)
        self._readers[reading] = service
        service.pid, service.began, service.again_at = pid, time.monotonic(), None

    def _hear(self, ready: set[int]) -> None:
        for reader in ready:
            said = os.read(reader, 1)
            service = self._readers.pop(reader)
            os.close(reader)
            if said and not service.is_ready:
                service.is_ready = True
                if all(other.is_ready for other in self._children):
                    self.all_ready()

    def _reap(self) -> None:
        for service in self._living():
            pid, status = os.waitpid(service.pid, os.WNOHANG)
            if pid:
                self._bury(service, os.waitstatus_to_exitcode(status))

    def _bury(self, service: _Service, code: int) -> None:
        service.pid = 0
        if self._asked:
            self._code = self._code or max(code, 0)
        elif code == 2 and not service.is_ready:  # its settings are wrong: another try would end the same
            self._code = 2
            self._end_all()
        elif code == 0 and service.is_ready:
            print(
                f"{service.name} was drained; it starts again with this command", file=sys.stderr, flush=True
            )
        else:
            lived = time.monotonic() - service.began
            service.deaths = 1 if lived > _STABLE else service.deaths + 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (service.deaths - 1))
            service.again_at = time.monotonic() + wait
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            print(f"{service.name} ended ({how}); it starts again in {wait:g} s", file=sys.stderr, flush=True)

    def _pass_on(self) -> None:
        """Children were asked by us alone: they are in process groups of their own."""
        wanted, self._wanted = self._wanted, 0
        for _ in range(wanted):
            self._end_all()

    def _end_all(self) -> None:
        """Ask all to end; the third time they are not asked any more."""
        self._asked += 1
        for service in self._living():
            os.kill(service.pid, signal.SIGTERM if self._asked < 3 else signal.SIGKILL)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """A descriptor that becomes readable with each signal that ends, and with each child that has."""
        receiving, sending = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def ask(*_: object) -> None:
            self._wanted += 1

        before = {number: signal.signal(number, ask) for number in _ENDS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
        try:
            yield receiving
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(receiving)
            os.close(sending)


def _be(service: _Service, parent: int, channel: int) -> None:
    """Be a service, in the child; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (*_ENDS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C in the terminal is the supervisor's, who asks
        _libc.prctl(_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        gc.enable()

        def ready(line: str) -> None:
            sys.stdout.write(f"{service.name}: {line}\n")  # in one piece: others write beside us
            sys.stdout.flush()
            os.write(channel, b"r")

        code = service.serve(ready)
    except FustgoError as error:
        print(f"error: {service.name}: {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
