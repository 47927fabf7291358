"""The zygote: a process that has imported what runners need, has used none of it, and forks them.

A fork of it is ready in ten milliseconds and shares its memory. What it imports is `worker.runner` and what
that imports; it never loads operators, code of users, or the store. Its environment is that of the worker
without `FUSTGO_*`. Run as `python -m orchestrator.worker.zygote FD`, where FD is a socket to the worker:

    worker -> zygote   one byte, with the runner's ends: connection, stdout, stderr
    zygote -> worker   {"forked": PID} for each request, in order; {"exited": PID, "status": N}

At the end of that stream the worker is gone: the runners are killed, with all that they started.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

from orchestrator.forking import be_a_fork, wake_on_exits

if TYPE_CHECKING:
    from orchestrator.worker.runner import Surroundings

ENDS = 3
PRELOADED = ("pyarrow.compute", "polars", "jinja2.sandbox")  # most of a runner's start, and of its memory


def main(control: socket.socket, level: str, lease: float) -> NoReturn:
    """Fork whenever the worker asks, report who exited, until the worker is gone."""
    around = preload(level, lease)
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of forks beside threads: see above
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ears = wake_on_exits()
    gc.collect()
    gc.freeze()  # what is shared with the forks is not written to by a collection
    children: set[int] = set()
    poll = select.poll()
    for descriptor in (control.fileno(), ears):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == ears:
                os.read(ears, 4096)
                _report_exits(control, children)
            else:
                _fork(control, children, around)


def preload(level: str, lease: float) -> Surroundings:
    """Import what runners need, and look up which operators there are."""
    from orchestrator.worker.runner import Surroundings

    for library in PRELOADED:
        importlib.import_module(library)
    return Surroundings.of_this_process(level, lease)


def _fork(control: socket.socket, children: set[int], around: Surroundings) -> None:
    said, ends = b"", list[int]()
    with contextlib.suppress(ConnectionError):
        said, ends, _, _ = socket.recv_fds(control, 1, ENDS)
    if not said:
        _end(children)
    zygote = os.getpid()
    child = os.fork()
    if child == 0:
        control.close()
        _run(zygote, ends, around)
    for end in ends:
        os.close(end)
    with contextlib.suppress(OSError):  # the child does so too: who is first counts, it may be killed at once
        os.setpgid(child, child)
    children.add(child)
    _tell(control, children, {"forked": child})


def _run(zygote: int, ends: list[int], around: Surroundings) -> NoReturn:
    """Be a runner."""
    try:
        be_a_fork(zygote)
        connection, out, err = ends
        os.set_inheritable(connection, False)  # a child of user code must not hold it open
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)

        from orchestrator.worker.runner import serve

        serve(socket.socket(fileno=connection), around)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _report_exits(control: socket.socket, children: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in children:
            children.discard(pid)
            _tell(control, children, {"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(control: socket.socket, children: set[int], news: dict[str, int]) -> None:
    try:
        control.send(json.dumps(news).encode())
    except ConnectionError:
        _end(children)


def _end(children: set[int]) -> NoReturn:
    """The worker is gone: nobody is left who wants the runners."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], float(sys.argv[3]))
