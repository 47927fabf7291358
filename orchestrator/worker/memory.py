"""How much memory runners take, read from /proc: what bounds them is a kill, since RLIMIT_AS counts what
libraries only reserve.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """Bytes of memory of its own that a process holds, shared files excepted; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


def proportional(pid: int) -> int:
    """Bytes of a process, those that it shares counted by their share (PSS); 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def above(limit: int, groups: Collection[int]) -> dict[int, int]:
    """What those of these process groups take whose members together take more than `limit` bytes.

    PSS costs milliseconds a process: it is read only where what is cheap to read comes near the limit.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            group = os.getpgid(pid)
        except OSError:
            continue
        if group in groups:
            members[group].append(pid)
    return {
        group: took
        for group, pids in members.items()
        if sum(map(resident, pids)) > limit // 2 and (took := sum(map(proportional, pids))) > limit
    }


def kills() -> int:
    """How many processes the kernel of this host has killed for want of memory, since it started."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return 0
