"""How a running attempt is asked to stop: once for a savepoint, twice at once."""

from __future__ import annotations

import threading


class Signals:
    """Set by another thread or a signal handler, read by the engine between two batches.

    What `outer` is asked, this is asked too.
    """

    def __init__(self, outer: Signals | None = None) -> None:
        self._outer = outer
        self._pause = threading.Event()
        self._cancel = threading.Event()

    def pause(self) -> None:
        """Ask for a savepoint: end the epoch, apply it, stop."""
        self._pause.set()

    def cancel(self) -> None:
        """Ask to stop without keeping the open epoch."""
        self._cancel.set()
        self._pause.set()

    @property
    def pausing(self) -> bool:
        """Whether a savepoint was asked for."""
        return self._pause.is_set() or (self._outer is not None and self._outer.pausing)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop at once."""
        return self._cancel.is_set() or (self._outer is not None and self._outer.cancelled)

    def wait(self, seconds: float) -> bool:
        """Sleep until something is asked, or the time is over; true where something is asked."""
        if self._outer is None:
            return self._pause.wait(seconds)
        return self._outer.wait(seconds) or self._pause.is_set()
