"""Writing the log of an attempt: JSON lines `{"at", "level", "node", "text", ...}`, one write each.

A line is in the file when its write returns, so it outlives a killed process. Runner and worker append to
one file: the runner what Python says, the worker what comes out of the child's stdout and stderr otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.clock import Clock
from orchestrator.kept import readable
from orchestrator.sdk.secrets import Secrets

LIMIT = 16 << 20  # bytes of one attempt's log
LONGEST = 1 << 15  # characters in one line of it; a longer one is cut into several
_encode = msgspec.json.Encoder().encode


class AttemptLog:
    """One attempt's log file. It is made with its first line: making one may wait for a busy disk.

    A line that cannot be written (a full disk) is counted, and stops nobody.
    """

    def __init__(
        self, path: Path, clock: Clock, secrets: Secrets | None = None, *, limit: int = LIMIT
    ) -> None:
        """Touch nothing yet; `secrets` are masked in every line."""
        self._path, self._clock, self._limit = path, clock, limit
        self._secrets = secrets or Secrets()
        self._file = -1
        self._first = b""
        self._dropped = 0

    @property
    def is_open(self) -> bool:
        """Whether anything has been written."""
        return self._file >= 0

    def begin(self, level: str, text: str, node: str = "") -> None:
        """Keep a first line, to stand before whatever comes; who makes the file writes its own."""
        self._first = self._line(level, text, node, {})

    def write(self, level: str, text: str, *, node: str = "", last: bool = False, **more: Any) -> None:
        """Write a line. A full log takes the `last` one only, and says before it how many it did not take."""
        try:
            self._open()
            if not last and os.fstat(self._file).st_size >= self._limit:
                self._drop()
                return
            if last and self._dropped:
                said = f"{self._dropped:,} lines were not kept: the log was full"
                os.write(self._file, self._line("WARNING", said, "", {}))
            text = readable(self._secrets.masked(text))
            for start in range(0, max(len(text), 1), LONGEST):
                os.write(self._file, self._line(level, text[start : start + LONGEST], node, more))
        except OSError:
            self._dropped += 1

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        if self._file >= 0:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags)
            return
        except FileNotFoundError:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._file = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was faster
            self._file = os.open(self._path, flags)
            return
        if self._first:
            os.write(self._file, self._first)

    def _drop(self) -> None:
        if not self._dropped:
            full = f"this log is full at {self._limit:,} bytes: what follows is not kept"
            os.write(self._file, self._line("WARNING", full, "", {}))
        self._dropped += 1

    def _line(self, level: str, text: str, node: str, more: Mapping[str, Any]) -> bytes:
        at = self._clock.now().isoformat(timespec="milliseconds")
        entry = {"at": at, "level": level, "node": node, "text": text, **more}
        try:
            return _encode(entry) + b"\n"
        except UnicodeEncodeError:  # the name of a logger
            return _encode({name: readable(str(held)) for name, held in entry.items()}) + b"\n"
