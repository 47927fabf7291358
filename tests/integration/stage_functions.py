"""Functions of stages whose runners are watched, stopped and killed. `folder` is where they leave marks."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator import Result, SetVariable, TriggerRun, action, processor


def mark(folder: str, name: str) -> bool:
    """Leave a mark; whether it is the first of that name."""
    try:
        Path(folder, name).open("x").close()
    except FileExistsError:
        return False
    return True


def wait_for(folder: str, name: str) -> None:
    """Wait until somebody leaves this mark."""
    while not Path(folder, name).exists():
        threading.Event().wait(0.005)


@processor
def dies(batch: pa.RecordBatch, *, folder: str, times: int = 1, code: int = 0) -> pa.RecordBatch:
    """Kill the runner (or exit with a code) in the first attempts."""
    for n in range(times):
        if mark(folder, f"died{n}"):
            print(f"about to die, time {n}")
            os._exit(code) if code else os.kill(os.getpid(), signal.SIGKILL)
    return batch


@processor
def talks(batch: pa.RecordBatch, *, dies: bool = False) -> pa.RecordBatch:
    """Speak in every way there is."""
    print("printed")
    print("complained", file=sys.stderr)
    logging.getLogger("a.library").warning("logged by a library")
    libc = ctypes.CDLL(None)
    libc.puts(b"said by C")
    libc.fflush(None)
    subprocess.run(["echo", "said by a child"], check=True)
    os.write(2, b"written to stderr\n")
    if dies:
        ctypes.string_at(0)
    print("without an end", end="")
    return batch


@processor
def lingers(batch: pa.RecordBatch, *, folder: str) -> pa.RecordBatch:
    """Leave a thread that speaks in the next attempt; C code keeps to itself what it has to say."""

    def speak() -> None:
        wait_for(folder, "speak")
        print("said by a thread")

    if mark(folder, "lingers"):
        threading.Thread(target=speak, daemon=True).start()
        ctypes.CDLL(None).puts(b"said by C")
        os.write(2, b"without an end")
    else:
        mark(folder, "speak")
    return batch


@processor
def hangs(batch: pa.RecordBatch, *, folder: str) -> pa.RecordBatch:
    """Never end in the first attempt, whatever is asked; a child process hangs with it."""
    if mark(folder, "hangs"):
        child = subprocess.Popen(["sleep", "1000"])
        Path(folder, "child").write_text(f"{os.getpid()} {child.pid}")
        threading.Event().wait()
    return batch


@processor
def waits(batch: pa.RecordBatch, *, folder: str, rows_of: list[int]) -> pa.RecordBatch:
    """Say that one of these rows has come, and wait there to be let go on."""
    for row in batch["row"].to_pylist():
        if row in rows_of:
            mark(folder, f"waiting{row}")
            wait_for(folder, f"go{row}")
    return batch


@processor
def grows(batch: pa.RecordBatch, *, size: int) -> pa.RecordBatch:
    """Take memory, and keep it for ever."""
    taken: Any = bytearray(b"x") * size
    threading.Event().wait()
    raise AssertionError(f"{len(taken)} bytes were not too many")


@action
def returns(*, what: str) -> Any:
    """Return what no store keeps, or raise it."""
    match what:
        case "variable":
            return Result(1, SetVariable("key", "value"))
        case "nul":
            return {"text": "a\0b"}
        case "surrogate":
            return {"name": "\udc80"}
        case "early":
            return TriggerRun("child", logical_date="0001-01-01T00:00:00+14:00")
        case "raises":
            raise FileNotFoundError("no such file: \udc80")
    return "plain"


@action
def takes_time(*, folder: str) -> None:
    """Take the time that it takes, whatever is asked."""
    mark(folder, "lingering")
    wait_for(folder, "go")


@action
def stands_still(*, folder: str) -> None:
    """Never end."""
    Path(folder, "standing").write_text(str(os.getpid()))
    threading.Event().wait()
