"""Looks at a source of DAG files, in a thread beside who loads what it sees."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, Self

from orchestrator.clock import SystemClock
from orchestrator.errors import FustgoError
from orchestrator.readiness import readable
from orchestrator.scheduler.bundles import Interrupted, Source, Tree

PATIENT = 0.5  # seconds after which who does not take what was seen is made to
_log = logging.getLogger("fustgo.loader")


class Readable(Protocol):
    """What can be waited for."""

    def fileno(self) -> int:
        """The descriptor."""


class Alarm:
    """A descriptor that is readable from `ring` until `clear`."""

    def __init__(self) -> None:
        self._hear, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """What becomes readable."""
        return self._hear

    def ring(self) -> None:
        """From any thread."""
        with suppress(BlockingIOError):  # it rings
            os.write(self._ring, b"r")

    def clear(self) -> None:
        """It has been heard."""
        with suppress(BlockingIOError):
            while os.read(self._hear, 1 << 12):
                pass

    def wait(self, seconds: float, *others: Readable) -> bool:
        """Whether it rings; waits for that, or for one of the others, so long."""
        return self.fileno() in readable([self.fileno(), *(one.fileno() for one in others)], seconds)

    @property
    def rings(self) -> bool:
        """Whether it was rung."""
        return self.wait(0.0)

    def close(self) -> None:
        """Let go of the descriptors."""
        os.close(self._hear)
        os.close(self._ring)


@dataclass(frozen=True)
class Seen:
    """The newest tree, where there is one that was not taken yet, and why the source cannot be read now,
    where it cannot. `at` is when the first of it was looked for, on the monotonic clock.
    """

    tree: Tree | None
    error: FustgoError | None
    at: float


class Watch:
    """A source under watch; as a context, until that is left.

    `news` rings when something was seen; `hurry` when it was not taken for half a second, or when all has to
    end: what reads files waits for nothing else.
    """

    def __init__(self, source: Source, stop: Alarm) -> None:
        self.news, self.hurry, self._left = Alarm(), Alarm(), Alarm()
        self._source, self._stop, self._clock = source, stop, SystemClock()
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._said: str | None = None
        self._over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name=f"watching {source.name}")

    def take(self) -> Seen | None:
        """What was seen since it was asked last; raises what has ended the watch."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            seen, self._seen = self._seen, None
            self.news.clear()
            if not self._over:
                self.hurry.clear()
        return seen

    def _watch(self) -> None:
        due = self._now()
        try:
            while not self._is_over(self._wait(due)):
                self._hasten()
                if due <= self._now():
                    self._look()
                    due = self._now() + self._source.interval
        except Interrupted:
            pass
        except BaseException as error:  # a defect of ours: who loads is to end by it
            self._failure = error
        finally:
            with self._lock:
                self._over = True
                self.hurry.ring()
                self.news.ring()

    def _is_over(self, wait: float) -> bool:
        return self._stop.wait(wait, self._left) or self._left.rings

    def _wait(self, due: float) -> float:
        """Seconds until it has to look again, or perhaps to hasten."""
        wait = due - self._now()
        return wait if self._seen is None else min(wait, PATIENT)

    def _hasten(self) -> None:
        seen = self._seen
        if seen is not None and seen.at + PATIENT <= self._now():
            self.hurry.ring()

    def _look(self) -> None:
        at = self._now()
        try:
            tree, error = self._source.look(), None
        except FustgoError as problem:
            tree, error = None, problem
        said = None if error is None else str(error)
        if tree is None and said == self._said:
            return
        self._said = said
        with self._lock:
            seen = Seen(tree, error, at)
            if self._seen is not None:
                seen = replace(seen, tree=tree or self._seen.tree, at=self._seen.at)
            self._seen = seen
            self.news.ring()

    def _now(self) -> float:
        return self._clock.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.ring()
        self._thread.join()
        for alarm in (self.news, self.hurry, self._left):
            alarm.close()
