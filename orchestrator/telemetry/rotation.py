"""A log file that the processes of a service share, put away by whoever finds it full.

A line is one write to a file opened for appending, which Linux makes whole. Putting away renames
`x.jsonl` to `x.jsonl.1`, that to `x.jsonl.2` and so on, under a lock beside it; a process that finds its
open file renamed opens the new one. So no line is lost or torn, and none waits for another process but
while files are renamed.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class SharedFile(logging.Handler):
    """Appends formatted lines to `path`; at `max_bytes` the file is put away, `backups` of them are kept.

    A disk that is full or gone costs lines, not the service: it is said on standard error once, and the
    number of lines that are missing stands in the file as soon as it can be written again.

    Raises OSError where the file cannot be opened at first.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        super().__init__()
        self._path, self._max_bytes, self._backups = path, max_bytes, backups
        self._missing = 0
        self._is_torn = False
        self._file = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        try:
            if self._missing:
                self._write(self._confession(record))
                self._missing = 0
            self._write(line)
        except OSError as error:
            self._miss(error)

    def close(self) -> None:
        self.acquire()
        try:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
        finally:
            self.release()
        super().close()

    def _open(self) -> int:
        return os.open(self._path, _FLAGS, 0o600)

    def _write(self, line: str) -> None:
        content = (line + "\n").encode("utf-8", "backslashreplace")
        self._make_room(len(content))
        if self._is_torn:  # a disk that ran full kept the first half of a line
            content = b"\n" + content
        written = os.write(self._file, content)
        self._is_torn = written < len(content)
        if self._is_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _make_room(self, size: int) -> None:
        """Open the file that the path names now; put it away first where the line would not fit."""
        if not self._is_current():
            self._reopen()
        if self._is_full(size):
            with open(f"{self._path}.lock", "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._is_current():  # else another was faster
                    self._put_away()
            self._reopen()

    def _is_current(self) -> bool:
        try:
            return self._file >= 0 and os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _is_full(self, size: int) -> bool:
        held = os.fstat(self._file).st_size
        return held > 0 and held + size > self._max_bytes

    def _put_away(self) -> None:
        if self._backups == 0:
            self._path.unlink()
            return
        for number in range(self._backups - 1, 0, -1):
            if (older := Path(f"{self._path}.{number}")).exists():
                older.replace(f"{self._path}.{number + 1}")
        self._path.replace(f"{self._path}.1")

    def _reopen(self) -> None:
        fresh = self._open()
        if self._file >= 0:
            os.close(self._file)
        self._file, self._is_torn = fresh, False

    def _miss(self, error: OSError) -> None:
        self._missing += 1
        if self._missing == 1:
            said = f"fustgo: {self._path} cannot be written ({error.strerror}): log lines are missing there\n"
            sys.stderr.write(said)

    def _confession(self, record: logging.LogRecord) -> str:
        text = f"{self._missing} log lines are missing here: the file could not be written"
        about = {"name": record.name, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
        return self.format(logging.makeLogRecord(about))
