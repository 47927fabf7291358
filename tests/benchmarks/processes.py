"""Timing whole processes: wall time and peak memory of each, taken in turn so that drift hits all alike.

And what a tree of processes holds and uses.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.worker.memory import proportional

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """Seconds of wall time and bytes of peak resident memory of one process."""

    seconds: float
    memory: int


def measure(command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end; RuntimeError with its output where it fails."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **(environ or {})}, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            raise RuntimeError(f"{command} ended with {child.returncode}:\n{output.read().decode()}")
    return Measured(seconds, usage.ru_maxrss * 1024)


def in_turn(commands: Mapping[str, Sequence[str]], folder: Path, runs: int) -> dict[str, list[Measured]]:
    """Every command `runs` times, A B A B ..., after one of each that does not count."""
    found: dict[str, list[Measured]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            taken = measure(command, folder)
            if turn:
                found[name].append(taken)
    return found


def median(values: Sequence[Measured]) -> float:
    """Median seconds."""
    return statistics.median(value.seconds for value in values)


def ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> float:
    """Median of the ratios, pair by pair."""
    return statistics.median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True))


def fsync_milliseconds(folder: Path) -> float:
    """Median time of an fsync of 4 kB here: the disk sets a floor under everything that is durable."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(20):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def tree(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they live."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def held(pid: int) -> int:
    """Bytes of memory that a tree holds: what is shared counts in proportion (PSS)."""
    return sum(map(proportional, tree(pid)))


def used(pid: int) -> float:
    """Seconds of processor time that a tree has used, of children that have ended too."""
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS
