"""Which descriptors have something to read, whatever their numbers: `select.select` ends at 1023."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable


def readable(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Those that are readable; waits so long for the first of them, without end where it is None."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    wait = None if seconds is None else math.ceil(max(0.0, seconds) * 1000)
    return {descriptor for descriptor, _ in poll.poll(wait)}
