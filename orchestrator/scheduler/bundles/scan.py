"""What of a folder is code: which files there are, and whether one has changed, without reading any.

Code is `*.py *.yaml *.yml *.json *.sql *.toml` and what `bundle.include` names, at most 1 MiB each; nothing
hidden, no virtual environments, and not what `.fustgoignore` names. Links are followed, to files and to
folders, but for a link to a folder that it is in.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from orchestrator.errors import FustgoError, UsageError
from orchestrator.scheduler.bundles.ignore import Patterns, read_ignored

CODE = (".py", ".yaml", ".yml", ".json", ".sql", ".toml")
LARGEST = 1 << 20  # bytes
MOST_LINKS = 1000  # to folders; some that lead to one another can be followed in millions of ways
_UNWRITABLE = re.compile("[\0-\x1f\x7f\ud800-\udfff]")  # no text of ours can hold such a name

Signature: TypeAlias = tuple[int, int, int, int]
"""Of a file: when it and its entry changed (ns), its bytes, its inode: other contents, another signature."""


@dataclass(frozen=True)
class Scan:
    """What a look at a folder has seen, by path below it: the code, and what was left out of it and why."""

    files: dict[str, Signature] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def scan(folder: Path, include: Patterns) -> Scan:
    """See which files of code a folder has.

    Raises UsageError where there is no such folder, or its `.fustgoignore` is wrong; FustgoError where a
    folder in it cannot be listed: what is not seen would pass for removed.
    """
    walk = _Walk(folder, include)
    try:
        walk.whole(str(folder))
    except OSError as error:
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        raise UsageError(
            f"there is no folder {folder}"
            if gone
            else f"the folder {folder} cannot be read: {error.strerror}",
            hint="create it, or name the folder of DAG files in bundle.dags" if gone else "make it readable",
        ) from error
    return walk.seen


def signature_of(status: os.stat_result) -> Signature:
    """What changes when the file does."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class _Walk:
    """One walk through a folder."""

    def __init__(self, top: Path, include: Patterns) -> None:
        self.seen = Scan()
        self._include, self._ignored = include, read_ignored(top)
        self._left: list[tuple[str, str, tuple[str, ...]]] = []
        self._links = 0

    def whole(self, top: str) -> None:
        """See all of it. Raises OSError where the top cannot be listed."""
        with os.scandir(top) as listed:
            self._enter(list(listed), "", (top,))
        while self._left:
            folder, prefix, above = self._left.pop()
            entries = _listed(folder)
            if not any(entry.name == "pyvenv.cfg" for entry in entries):
                self._enter(entries, prefix, (*above, folder))

    def _enter(self, entries: Iterable[os.DirEntry[str]], prefix: str, above: tuple[str, ...]) -> None:
        """See what a folder has; its paths begin with `prefix`, and `above` are itself and those it is in."""
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            path = prefix + name
            if not _is_folder(entry):
                self._see(entry, path)
            elif self._is_entered(entry, path, above):
                self._left.append((entry.path, f"{path}/", above))

    def _is_entered(self, entry: os.DirEntry[str], path: str, above: Sequence[str]) -> bool:
        if entry.name == "__pycache__" or self._ignored.names_folder(path):
            return False
        if not entry.is_symlink():
            return True
        self._links += 1
        if self._links > MOST_LINKS:
            raise FustgoError(
                f"{entry.path}: links in this folder of DAGs lead into folders for the {MOST_LINKS}th time",
                hint="remove those that lead to one another, or name them in .fustgoignore",
            )
        return not any(_are_same(entry.path, one) for one in above)

    def _see(self, entry: os.DirEntry[str], path: str) -> None:
        wanted = entry.name.endswith(CODE) or self._include.names_file(path)
        if not wanted or self._ignored.names_file(path):
            return
        if not path.isprintable() and _UNWRITABLE.search(path):
            self.seen.left_out[ascii(path)] = "has a name that is no UTF-8 text"
            return
        try:
            status = entry.stat()
        except OSError as error:  # a link to nowhere, or gone just now
            self.seen.left_out[path] = f"cannot be read: {error.strerror}"
            return
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_size > LARGEST:
            self.seen.left_out[path] = "is larger than 1 MiB"
        else:
            self.seen.files[path] = signature_of(status)


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []  # gone just now
    except OSError as error:
        raise FustgoError(
            f"{folder} cannot be listed: {error.strerror}",
            hint="make it readable, or name it in .fustgoignore",
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or where we may not go
        return False


def _are_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # gone just now
        return True
