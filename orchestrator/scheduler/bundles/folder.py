"""A bundle that is a folder: watched by looking at it, copied when its code has changed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.errors import FustgoError
from orchestrator.readiness import readable
from orchestrator.scheduler.bundles import Interrupted, Tree
from orchestrator.scheduler.bundles.frozen import SpoiledError, TreeClaim, digest, freeze
from orchestrator.scheduler.bundles.ignore import included
from orchestrator.scheduler.bundles.scan import Scan, Signature, scan, signature_of

PAUSE = 0.05  # seconds after which a file that is being written shows it
SETTLES_WITHIN = 1.0  # seconds; what is still written then is taken as it is
THRIFT = 70  # a look is followed by a pause at least so many times as long: 1.4 % of a core
_LEFT_OUT = "it is not loaded with the DAGs"
_log = logging.getLogger("fustgo.loader")


class _Changed(Exception):
    """A file was changed while it was read."""


class Folder:
    """The source of a bundle that is a folder. Its tree holds the code of it and nothing else.

    A look compares what the file system says of each file, and reads those of which it says something else. A
    link to a file is copied as a file, one to a folder as a folder. What is too large, or cannot be read, is
    left out and said once.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        artifacts: Path,
        include: Sequence[str] = (),
        poll: float = 0.5,
        stop: int | None = None,
    ) -> None:
        self.name, self.shown, self.folder = name, str(folder), str(folder)
        self._path, self._artifacts, self._include = folder, artifacts, included(include)
        self._poll, self._stop, self._cost = poll, stop, 0.0
        self._clock = SystemClock()
        self._tree: Tree | None = None
        self._claim = TreeClaim(artifacts)
        self._files: dict[str, Signature] = {}  # those of the tree that need not be read again
        self._told: set[tuple[str, str]] = set()

    @property
    def interval(self) -> float:
        """Seconds between two looks: as is set, unless the folder is so large that this would cost much."""
        return max(self._poll, THRIFT * self._cost)

    def look(self) -> Tree | None:
        """The code as it is now, frozen; None where it has not changed. See `Source.look`."""
        self._hold_the_tree()
        seen = self._scan()
        if self._tree is not None and seen.files == self._files:
            return None
        before, self._tree = self._tree, self._frozen(seen)
        return self._tree if before is None or self._tree.version != before.version else None

    def _frozen(self, seen: Scan) -> Tree:
        until = self._clock.monotonic() + SETTLES_WITHIN
        while True:
            seen, restless = self._settled(seen, until)
            try:
                return self._copied(seen, self._read(seen, restless), restless)
            except _Changed:
                seen = self._scan()

    def _settled(self, seen: Scan, until: float) -> tuple[Scan, set[str]]:
        """What is seen when two looks agree, so that no half of a file is taken for a file.

        With the files about which they still do not after a second: they are taken as they are.
        """
        restless: set[str] = set()
        while self._clock.monotonic() < until:
            self._pause()
            before, seen = seen, self._scan()
            restless = {path for path, _ in before.files.items() ^ seen.files.items()}
            if not restless:
                break
        for path in restless:
            self._tell(
                path, "is written all the time, and the DAGs loaded each time: name it in .fustgoignore"
            )
        return seen, restless

    def _read(self, seen: Scan, restless: set[str]) -> dict[str, bytes]:
        """The content of those files that are not in the tree as they are now.

        Raises _Changed where that of one that had settled changes meanwhile.
        """
        contents = {}
        for path, signature in seen.files.items():
            if self._files.get(path) != signature:
                try:
                    contents[path] = _read(self._path / path, None if path in restless else signature)
                except PermissionError as error:
                    self._tell(path, f"cannot be read: {error.strerror}: {_LEFT_OUT}")
                except FileNotFoundError:
                    if path not in restless:
                        raise _Changed from None
                except OSError as error:
                    raise FustgoError(
                        f"{self._path / path} cannot be read: {error.strerror}",
                        hint="it is tried again; the last good copy stays",
                    ) from error
        return contents

    def _copied(self, seen: Scan, contents: dict[str, bytes], restless: set[str]) -> Tree:
        digests = {path: digest(content) for path, content in contents.items()}
        if self._tree is not None:
            same = (path for path, signature in seen.files.items() if self._files.get(path) == signature)
            digests |= {path: self._tree.digests[path] for path in same if path in self._tree.digests}
        try:
            tree = freeze(self._artifacts, digests, contents, self._tree)
        except SpoiledError as spoiled:
            _log.warning("%s", spoiled)
            self._tree, self._files = None, {}
            raise _Changed from spoiled
        self._files = {path: one for path, one in seen.files.items() if path not in restless}
        return tree

    def _hold_the_tree(self) -> None:
        """Keep the tree from being pruned; forget one that is gone all the same."""
        if self._tree is not None and not self._claim.holds(self._tree):
            self._tree, self._files = None, {}

    def _tell(self, path: str, what: str) -> None:
        """Warn of a file, once."""
        if (path, what) not in self._told:
            self._told.add((path, what))
            _log.warning("%s %s", self._path / path, what)

    def _scan(self) -> Scan:
        began = time.thread_time()
        seen = scan(self._path, self._include)
        self._cost = time.thread_time() - began
        for path, why in seen.left_out.items():
            self._tell(path, f"{why}: {_LEFT_OUT}")
        return seen

    def _pause(self) -> None:
        stops = [] if self._stop is None else [self._stop]
        if readable(stops, PAUSE):
            raise Interrupted


def _read(path: Path, signature: Signature | None) -> bytes:
    """The content of a file; raises _Changed where it is not as it was seen, before it is read and after."""
    with path.open("rb", buffering=0) as file:
        before = signature_of(os.fstat(file.fileno()))
        content = file.readall()
        after = signature_of(os.fstat(file.fileno()))
    if signature is not None and not signature == before == after:
        raise _Changed
    return content
