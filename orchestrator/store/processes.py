"""Who a process is, so that it is known again: pids are given anew, a pid with its start time is not."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from functools import cache
from pathlib import Path


@cache
def host() -> str:
    """This machine, as workers' rows name it."""
    return socket.gethostname()


def start_time(pid: int) -> str | None:
    """When a process of this host began: the boot's id and the clock tick since; None where it is gone."""
    fields = _stat(pid)
    return f"{_boot()}:{fields[19]}" if fields and fields[0] not in ("Z", "X") else None


def is_stopped(pid: int) -> bool:
    """Whether a process was suspended (SIGSTOP, Ctrl-Z, a debugger)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in ("T", "t")


def kill(pid: int, started: str, *, patience: float = 5.0) -> bool:
    """Kill a process of this host, and those of its group where it leads one, and wait until it is gone.

    False where it is still there after `patience` seconds: it hangs in the kernel. A process that has the
    pid but began at another time is not touched.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if start_time(pid) != started:
            return True
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            signal.pidfd_send_signal(process, signal.SIGKILL)
        return bool(select.select([process], [], [], patience)[0])
    finally:
        os.close(process)


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: the name before it may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def this_process() -> tuple[int, str]:
    """Pid and start time of this process."""
    pid = os.getpid()
    return pid, start_time(pid) or ""
