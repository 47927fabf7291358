"""A bare copy of a repository for the processes of a host, and the checkouts that are made from it.

The copy holds the commits that were asked for, without their history. It is only a cache: one that git
cannot use any more is made anew. A checkout is the files of a commit, byte for byte: no hook runs, and no
filter, attribute or setting has a say. Links are written last, and none that leads out.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from orchestrator.clock import SystemClock
from orchestrator.errors import FustgoError
from orchestrator.scheduler.bundles.command import SILENCE, Git, GitFailed, git_dir
from orchestrator.scheduler.bundles.frozen import claim, publish, staging, writing
from orchestrator.store.artifacts import bundle_tree

SHA256 = 64  # digits of a commit id in a repository that counts by it
_PAUSE = 0.05  # seconds
_OURS_ALONE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_COUNT": "0",
    "GIT_ATTR_NOSYSTEM": "1",
}
_NO_ATTRIBUTES = "* !export-ignore !export-subst !filter !ident !text !eol !crlf !working-tree-encoding\n"
_log = logging.getLogger("fustgo.loader")


class Mirror:
    """The copy of one remote, `<artifacts>/git/<key>`; used by one process at a time."""

    def __init__(self, git: Git, artifacts: Path, patience: float = SILENCE) -> None:
        self._git, self._artifacts, self._patience = git, artifacts, patience
        self._path = artifacts / "git" / git.remote.key
        self._clock = SystemClock()

    def check_out(self, ref: str, commit: str) -> str:
        """Make the checkout of a commit, which the remote has as `ref`, unless it is there.

        The commit that was checked out: a newer one where the ref has moved meanwhile. Raises GitFailed,
        StoreError where something cannot be written, FustgoError where another process holds the mirror for
        too long.
        """
        with writing(bundle_tree(self._artifacts, commit)), self._alone() as lock:
            if claim(self._artifacts, commit):
                return commit
            commit = self._fetched(ref, commit, lock)
            if not claim(self._artifacts, commit):
                self._extract(commit, lock)
            self._tidy(lock)
            return commit

    def _fetched(self, ref: str, commit: str, lock: int) -> str:
        is_old = self._path.is_dir()
        try:
            return self._fetch(ref, commit, lock)
        except GitFailed:
            if not is_old:
                raise
        shutil.rmtree(self._path)  # perhaps it is the mirror that is broken: a process was killed in it
        return self._fetch(ref, commit, lock)

    def _fetch(self, ref: str, commit: str, lock: int) -> str:
        if not (self._path / "HEAD").exists():
            ids = "--object-format=sha256" if len(commit) == SHA256 else "--object-format=sha1"
            self._git.run("init", "--quiet", "--bare", "--template=", ids, str(self._path), lock=lock)
        (self._path / "info").mkdir(exist_ok=True)
        (self._path / "info" / "attributes").write_text(_NO_ATTRIBUTES)
        here = f"refs/fustgo/{ref.removeprefix('refs/')}"
        url, spec = self._git.remote.url, f"+{ref}:{here}"
        options = ("--depth=1", "--no-tags", "--force", "--progress", "--no-recurse-submodules")
        self._git.run(git_dir(self._path), "fetch", *options, "--", url, spec, lock=lock)
        return self._git.run(git_dir(self._path), "rev-parse", "--verify", f"{here}^{{commit}}").strip()

    def _extract(self, commit: str, lock: int) -> None:
        with (
            staging(self._artifacts) as new,
            tempfile.TemporaryFile(dir=self._artifacts / "git") as archive,
        ):
            self._git.run(
                *(git_dir(self._path), "archive", "--format=tar", commit),
                output=archive,
                lock=lock,
                environment=_OURS_ALONE,
            )
            archive.seek(0)
            with tarfile.open(fileobj=archive, mode="r:") as files:
                left_out = unpack(files, new)
            for path, target in left_out:
                _log.warning(
                    "%s: %s links to %s, out of the repository: it is left out of the checkout of %s",
                    *(self._git.remote.url, path, target, commit),
                )
            publish(new, bundle_tree(self._artifacts, commit))

    def _tidy(self, lock: int) -> None:
        """Let git throw away what nothing needs any more, when there is much of it."""
        try:
            self._git.run(
                *(git_dir(self._path), "-c", "gc.auto=2000", "-c", "gc.autoDetach=false"),
                *("gc", "--auto", "--quiet", "--prune=now"),
                lock=lock,
            )
        except FustgoError as error:  # the checkout is good all the same
            _log.warning("%s", error)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Hold the mirror's lock; what git runs meanwhile holds it too, should we be killed."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(lock)
            yield lock
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        until = self._clock.monotonic() + self._patience
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic() > until:
                    raise FustgoError(
                        f"{self._git.remote.url}: another process has its mirror {self._path} for more than "
                        f"{self._patience:g} s",
                        hint="it is tried again; does a scheduler hang?",
                    ) from None
            self._git.pause(_PAUSE)


def unpack(files: tarfile.TarFile, new: Path) -> list[tuple[str, str]]:
    """Write what an archive of git holds; the links that lead out, which are not written, with their targets.

    Raises FustgoError for a path that leads out: git makes none.
    """
    members = list(files)
    for one in members:  # tarfile's own filters are younger than the Python of some distributions
        if one.isdir():
            _inside(new, one).mkdir(parents=True, exist_ok=True)
        elif one.isreg() and (content := files.extractfile(one)) is not None:
            _write(_inside(new, one), content, 0o555 if one.mode & 0o100 else 0o444)
    links = [one for one in members if one.issym()]
    for link in links:
        os.symlink(link.linkname, new / link.name)
    return _remove_leaving(new, links)


def _remove_leaving(new: Path, links: Sequence[tarfile.TarInfo]) -> list[tuple[str, str]]:
    """Judge the links when all are there, since one may lead through another."""
    inside = os.path.realpath(new)
    leaving = [
        link
        for link in links
        if os.path.isabs(link.linkname)
        or os.path.commonpath([inside, os.path.realpath(new / link.name)]) != inside
    ]
    for link in leaving:
        (new / link.name).unlink()
    return [(link.name, link.linkname) for link in leaving]


def _inside(new: Path, member: tarfile.TarInfo) -> Path:
    """Where a member is written. No link is there yet by which it could lead elsewhere."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise FustgoError(f"a file of the repository has no place in a checkout: {member.name!r}")
    return new / path


def _write(path: Path, content: IO[bytes], mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(mode)
