"""The frozen copy of a folder of DAGs: what runs import stays as it was, whatever the author does.

Copied is code, and nothing else: `*.py *.yaml *.yml *.json *.sql *.toml` and what `bundle.include` names, at
most 1 MiB each; nothing hidden, no virtual environments, and not what `.fustgoignore` names. The copy is
called by the hash of its contents.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from orchestrator.errors import StoreError, UsageError
from orchestrator.store import processes
from orchestrator.store.artifacts import bundle_tree

CODE = frozenset({".py", ".yaml", ".yml", ".json", ".sql", ".toml"})
LARGEST = 1 << 20  # bytes
IGNORE = ".fustgoignore"
_LENGTH = 20  # hex digits of the hash: 80 bits
_log = logging.getLogger("fustgo.loader")


@dataclass(frozen=True)
class Bundle:
    """A frozen copy: its version (the hash), and the folder that holds it."""

    version: str
    tree: Path


def freeze(folder: Path, artifacts: Path, include: Sequence[str] = ()) -> Bundle:
    """Copy the code of a folder of DAGs into the artifact store, unless that very content is there already.

    Raises UsageError where there is no such folder, StoreError where the copy cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", hint="create it, or name the folder of DAG files in bundle.dags"
        )
    contents = dict(_contents(folder, include))
    version = _hash(contents)
    tree = bundle_tree(artifacts, version)
    if not tree.is_dir():
        try:
            _write(tree, contents)
        except OSError as error:
            raise StoreError(
                f"cannot copy the DAGs to {tree}: {error.strerror}",
                hint="artifacts.path must be a folder you can write, with space left",
            ) from error
    return Bundle(version, tree)


def _contents(folder: Path, include: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Path below the folder and content of each file that is copied, in the order of their paths."""
    ignored = _ignored(folder)
    for place, folders, names in os.walk(folder):
        here = PurePosixPath(Path(place).relative_to(folder).as_posix())
        folders[:] = sorted(name for name in folders if _is_entered(Path(place, name), here / name, ignored))
        for name in sorted(names):
            path = str(here / name)
            hidden = name.startswith(".")
            if _is_wanted(path, include) and not hidden and not _matches(path, ignored):
                content = _read(Path(place, name))
                if content is not None:
                    yield path, content


def _is_entered(folder: Path, path: PurePosixPath, ignored: Sequence[str]) -> bool:
    special = folder.name.startswith(".") or folder.name == "__pycache__"
    return not (special or _matches(str(path), ignored) or (folder / "pyvenv.cfg").exists())


def _is_wanted(path: str, include: Sequence[str]) -> bool:
    return PurePosixPath(path).suffix in CODE or _matches(path, include)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern names this path: one with a slash from the top on, one without in any folder."""
    name = PurePosixPath(path).name
    return any(fnmatchcase(path if "/" in pattern else name, pattern.lstrip("/")) for pattern in patterns)


def _ignored(folder: Path) -> list[str]:
    try:
        lines = (folder / IGNORE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder / IGNORE} cannot be read: {error}") from error
    patterns = [line.strip().rstrip("/") for line in lines]
    for number, pattern in enumerate(patterns, start=1):
        if pattern.startswith("!"):
            raise UsageError(
                f"{folder / IGNORE}:{number}: {pattern!r} takes nothing back",
                hint="write patterns of what is left out only",
            )
    return [pattern for pattern in patterns if pattern and not pattern.startswith("#")]


def _read(path: Path) -> bytes | None:
    """The content of a file, None where it is no file of code: too large, a pipe, a link to nowhere."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > LARGEST:
            _log.warning("%s is larger than 1 MiB: it is not loaded with the DAGs", path)
            return None
        return path.read_bytes()
    except OSError as error:
        _log.warning("%s cannot be read, it is not loaded: %s", path, error.strerror)
        return None


def _hash(contents: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for path, content in sorted(contents.items()):
        whole.update(os.fsencode(path) + b"\0" + hashlib.sha256(content).digest())
    return whole.hexdigest()[:_LENGTH]


def _write(tree: Path, contents: Mapping[str, bytes]) -> None:
    """Write under a name of our own, make it durable, and rename: a tree is there whole or not at all."""
    tree.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_abandoned(tree.parent)
    new = tree.parent / f".{processes.host()}.{os.getpid()}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    folders = {new}
    for path, content in contents.items():
        target = new / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders.update(parent for parent in target.parents if parent.is_relative_to(new))
        with target.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for folder in folders:
        _sync(folder)
    try:
        new.rename(tree)
    except OSError:
        if not tree.is_dir():  # else another process has made the same just now
            raise
        shutil.rmtree(new)
    _sync(tree.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove what a process of this host had begun to copy when it was killed."""
    for left in folder.glob(f".{processes.host()}.*.new"):
        pid = left.name.split(".")[-2]
        with suppress(OSError):
            if pid.isdecimal() and processes.start_time(int(pid)) is None:
                shutil.rmtree(left)
