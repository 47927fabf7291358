"""Making files and names survive a power cut, and keeping the last fsync short."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

WRITE_BACK_BYTES = 16 << 20
_SYNC_FILE_RANGE_WRITE = 2  # <fcntl.h>: start writing dirty pages out, do not wait


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's sync_file_range(2), where the C library has it: Python's os module has no such call."""
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


class WriteBack:
    """Starts the write-back of a growing file every few megabytes, so that little is left to sync."""

    def __init__(self, file: IO[bytes], start: int = 0) -> None:
        self._file, self._done = file, start

    def advance(self) -> None:
        """Called after a write; cheap when little was written since the last time."""
        size = self._file.tell()
        start = _sync_file_range()
        if start is None or size - self._done < WRITE_BACK_BYTES:
            return
        self._file.flush()
        start(self._file.fileno(), self._done, size - self._done, _SYNC_FILE_RANGE_WRITE)
        self._done = size


def sync_file(file: IO[bytes]) -> None:
    """Everything written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, durably."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def copy_beginning(source: Path, target: IO[bytes], length: int) -> None:
    """Copy the first `length` bytes into an open file, inside the kernel where it can."""
    with source.open("rb") as origin:
        left = length
        while left:
            moved = os.sendfile(target.fileno(), origin.fileno(), length - left, min(left, 1 << 30))
            if not moved:
                raise OSError(f"{source} ended {left} bytes early")
            left -= moved
    target.seek(0, os.SEEK_END)
