"""What zygotes have in common: processes that have imported much, have used none of it, and fork others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping

_PREFIX, _TESTS = "FUSTGO_", "FUSTGO_CRASH"
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_OOM_SCORE = 500  # of 1000: under pressure the kernel takes a fork, never who works with it
_libc = ctypes.CDLL(None, use_errno=True)


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for code of users: without our settings, connections and variables."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_PREFIX) or name.startswith(_TESTS)
    }


def wake_on_exits() -> int:
    """A descriptor that becomes readable when a child exits."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def inherit_orphans() -> None:
    """Be the parent of every descendant that loses its own: so none gets away."""
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def be_a_fork(zygote: int) -> None:
    """In the child: of a process group of its own, gone with the zygote, first in line for the OOM killer."""
    os.setpgid(0, 0)
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_SCORE))
