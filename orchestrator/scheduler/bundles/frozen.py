"""Frozen trees: `<artifacts>/bundles/<version>`, there whole or not at all, and never changed.

A folder's tree is called by the hash of its contents, a repository's by the commit. A file that the last tree
has is the same file in the next (a hard link); none is a link to what the author edits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError
from orchestrator.scheduler.bundles import Tree
from orchestrator.store import processes
from orchestrator.store.artifacts import bundle_tree

CLAIM_EVERY = 600.0  # seconds
SYNCED_AT_ONCE = 16  # the disk makes many files durable in hardly more time than one
_LENGTH = 20  # hex digits of a version: 80 bits
_VERSION = re.compile(r"[0-9a-f]{20}|[0-9a-f]{40}|[0-9a-f]{64}")  # of a folder, of a commit (SHA-1, SHA-256)
_LEFT = re.compile(r"\..+\.(new|leaving)")
_READ_ONLY = 0o444
_WRITTEN_AT = 0  # when each file of a tree was last changed: root can do so all the same, and it shows


class SpoiledError(Exception):
    """A file of the last tree is no longer what it was: no other may be a link to it."""


def digest(content: bytes) -> str:
    """What a file is called by: the SHA-256 of its bytes."""
    return hashlib.sha256(content).hexdigest()


def version_of(digests: Mapping[str, str]) -> str:
    """What a tree of these files is called."""
    whole = hashlib.sha256()
    for path, one in sorted(digests.items()):
        whole.update(os.fsencode(path) + b"\0" + bytes.fromhex(one))
    return whole.hexdigest()[:_LENGTH]


def freeze(
    artifacts: Path, digests: Mapping[str, str], contents: Mapping[str, bytes], last: Tree | None = None
) -> Tree:
    """The tree of these files, made unless it is there already.

    `contents` are those that `last`, the tree before, does not have. Raises StoreError where the tree cannot
    be written, SpoiledError.
    """
    version = version_of(digests)
    tree = Tree(version, bundle_tree(artifacts, version), digests)
    with writing(tree.root):
        if not claim(artifacts, version):
            with staging(artifacts) as new:
                _fill(new, digests, contents, last)
                publish(new, tree.root)
    return tree


@contextmanager
def writing(tree: Path, doing: str = "copy the DAGs to") -> Iterator[None]:
    """What goes wrong with the disk inside is a StoreError that names the tree."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot {doing} {tree}: {error.strerror}",
            hint="artifacts.path must be a folder you can write, with space left",
        ) from error


def claim(artifacts: Path, version: str) -> bool:
    """Whether this tree is there; if so, it counts as new, and is not pruned before it gets old again."""
    tree = bundle_tree(artifacts, version.partition("/")[0])
    if not os.path.isdir(tree):
        return False
    with writing(tree), _alone(artifacts), suppress(FileNotFoundError):
        os.utime(tree)
        return True
    return False


class TreeClaim:
    """The claim of one who looks at a tree again and again: it is made anew every few minutes."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts, self._clock = artifacts, SystemClock()
        self._version, self._due = "", 0.0

    def holds(self, tree: Tree) -> bool:
        """Whether the tree is still there."""
        if tree.version == self._version and self._clock.monotonic() < self._due:
            return os.path.isdir(tree.root)
        self._version, self._due = tree.version, self._clock.monotonic() + CLAIM_EVERY
        return claim(self._artifacts, tree.version) and os.path.isdir(tree.root)


@contextmanager
def staging(artifacts: Path) -> Iterator[Path]:
    """An empty folder in which a tree is made; it is gone afterwards unless the tree was published."""
    bundles = artifacts / "bundles"
    bundles.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_abandoned(bundles)
    new = Path(tempfile.mkdtemp(prefix=f".{processes.host()}.{os.getpid()}.", suffix=".new", dir=bundles))
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def publish(new: Path, tree: Path) -> None:
    """Make what was staged durable, and rename it; no harm where another process was faster."""
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        for _ in pool.map(_sync, _undurable(new)):
            pass
    try:
        new.rename(tree)
    except OSError:
        if not tree.is_dir():  # else another process has made the same just now
            raise
    _sync(tree.parent)


def prune(artifacts: Path, kept: Collection[str], older_than: timedelta) -> list[str]:
    """Remove the trees that nobody names in `kept`, and what killed processes left; the names removed.

    A tree stays while it is younger than `older_than`: who made or claimed it may be about to name it. An
    hour is plenty; live sources claim theirs every few minutes. Raises StoreError.
    """
    bundles = artifacts / "bundles"
    if not bundles.is_dir():
        return []
    with writing(bundles, "remove old copies of DAGs in"):
        with _alone(artifacts):
            before = time.time() - older_than.total_seconds()
            ages = [(entry.name, entry.stat(follow_symlinks=False).st_mtime) for entry in os.scandir(bundles)]
            gone = unnamed(ages, kept, before)
            leaving = {name: bundles / f".{name}.{secrets.token_hex(4)}.leaving" for name in gone}
            for name, place in leaving.items():
                (bundles / name).rename(place)
        left = [bundles / name for name, changed in ages if _LEFT.fullmatch(name) and changed < before]
        for place in (*left, *leaving.values()):
            shutil.rmtree(place, ignore_errors=True)
    return gone


def unnamed(trees: Iterable[tuple[str, float]], kept: Collection[str], before: float) -> list[str]:
    """Which of these, each with the time of its last change, are trees that may go.

    A version that names a folder in a tree keeps the whole tree.
    """
    named = {version.partition("/")[0] for version in kept}
    return sorted(
        name for name, changed in trees if _VERSION.fullmatch(name) and name not in named and changed < before
    )


def _fill(new: Path, digests: Mapping[str, str], contents: Mapping[str, bytes], last: Tree | None) -> None:
    had = {one: last.root / path for path, one in last.digests.items()} if last else {}
    for path, one in digests.items():
        target = new / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if one not in had or not _linked(had[one], target):
            target.write_bytes(contents[path] if path in contents else had[one].read_bytes())
            target.chmod(_READ_ONLY)
            os.utime(target, ns=(0, _WRITTEN_AT))


def _linked(file: Path, target: Path) -> bool:
    """Make a file the same as another; False where the disk does not let us. Raises SpoiledError."""
    if file.stat().st_mtime_ns != _WRITTEN_AT:
        raise SpoiledError(f"{file} was changed by what imports or reads it: all is copied anew")
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


@contextmanager
def _alone(artifacts: Path) -> Iterator[None]:
    """Nobody else prunes or claims meanwhile, on any host that has the artifact store."""
    descriptor = os.open(artifacts / "bundles" / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _undurable(new: Path) -> Iterator[Path]:
    """The files and folders that only we know: other names of a file are in trees that are durable."""
    for place, _, names in os.walk(new):
        for name in names:
            file = Path(place, name)
            if not file.is_symlink() and file.stat().st_nlink == 1:
                yield file
        yield Path(place)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(bundles: Path) -> None:
    """Remove what a process of this host had begun to make when it was killed."""
    for left in bundles.glob(f".{processes.host()}.*.new"):
        pid = left.name.split(".")[-3]
        if pid.isdecimal() and processes.start_time(int(pid)) is None:
            shutil.rmtree(left, ignore_errors=True)
