"""The files that take long, read beside everything else: no change ends that, and none waits for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Self

from orchestrator.scheduler.bundles import Tree
from orchestrator.scheduler.parsing.parsers import Parsed, Parsers


class SlowReader:
    """Reads some files at a time, with a process of its own; as a context, nothing is left at its end."""

    def __init__(self, project: Path, stop: int) -> None:
        self._parsers = Parsers(project, stop)
        self._reading: Generator[Parsed | None, None, None] | None = None
        self._tree: Tree | None = None
        self._files = set[str]()

    @property
    def is_reading(self) -> bool:
        """Whether files are under way."""
        return self._reading is not None

    def begin(self, tree: Tree, files: Sequence[str], patience: float) -> None:
        """Read these now, each for so many seconds at most. None may be under way."""
        self._tree, self._files = tree, {*files}
        self._reading = self._parsers.attend(tree.root, files, patience)

    def ended(self) -> Iterator[tuple[Tree, Parsed]]:
        """What is done, with the tree where it was read; waits for nothing."""
        while self._reading is not None and self._tree is not None:
            try:
                parsed = next(self._reading)
            except StopIteration:
                return self._end()
            except BaseException:
                self._end()
                raise
            if parsed is None:
                return None
            self._files.discard(parsed.file)
            yield self._tree, parsed
        return None

    def drop(self, is_wanted: Callable[[str], bool]) -> None:
        """End the reading where nobody wants to know any more what is under way."""
        if not any(map(is_wanted, self._files)):
            self._end()

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._parsers.fileno()

    def rest(self) -> None:
        """Let the process go when it was of no use for a while."""
        if self._reading is None:
            self._parsers.rest()

    def _end(self) -> None:
        if self._reading is not None:
            self._reading.close()
        self._reading, self._files = None, set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._parsers.close()
