"""Reading the logs of attempts: JSON lines in the artifact store, by byte offset, while they grow.

`worker.logs` writes them. A line is `{"at", "level", "node", "text", ...}`; one that is damaged is told as
its text.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.store.artifacts import run_folder

PAGE = 256 << 10  # bytes
_TAIL = 16 << 10


@dataclass(frozen=True)
class LogPage:
    """Some whole lines, and the offset from which the next ones are read."""

    lines: list[dict[str, Any]]
    offset: int


def log_path(root: Path, run_uid: str, stage: str, attempt: int) -> Path:
    """Where the log of an attempt lies in the artifact store; there is none before it is executed."""
    return run_folder(root, run_uid) / "logs" / stage / f"{attempt}.jsonl"


def read_log(path: Path, offset: int = 0, limit: int = PAGE) -> LogPage:
    """The whole lines from `offset` on, `limit` bytes of them at most (one line always); none where there are
    none yet. ValueError for an offset beyond the file, which is of another log.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  # closed below
    except FileNotFoundError:
        return LogPage([], offset)
    with file:
        if offset > os.fstat(file.fileno()).st_size:
            raise ValueError(f"offset {offset} is beyond the end of {path}")
        file.seek(offset)
        chunk = file.read(limit)
        end = chunk.rfind(b"\n") + 1
        if not end:  # a line longer than that, or one that is not whole yet
            chunk += file.readline()
            end = len(chunk) if chunk.endswith(b"\n") else 0
    return LogPage([_entry(line) for line in chunk[:end].splitlines()], offset + end)


def last_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The last lines of a log, at most so many."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return []
    start = max(0, size - _TAIL)
    with open(path, "rb") as file:
        file.seek(start)
        lines = file.read().splitlines()
    whole = lines[1:] if start else lines
    return [_entry(line) for line in whole[-count:]]


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if isinstance(entry, dict):
        return entry
    return {"at": "", "level": "INFO", "node": "", "text": line.decode("utf-8", "replace")}
