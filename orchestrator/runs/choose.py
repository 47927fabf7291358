"""Which queued attempt is claimed next (rules 9.2-9.4). Pure; slots belong to running attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A queued attempt, as far as the choice looks at it."""

    @property
    def pool(self) -> str: ...

    @property
    def pool_slots(self) -> int: ...


C = TypeVar("C", bound=Candidate)


def choose(candidates: Iterable[C], slots: Mapping[str, int], used: Mapping[str, int]) -> C | None:
    """The first candidate that fits its pool, in the order given.

    One that does not fit closes its pool for this claim: nothing overtakes it there, so that a stage waits
    only for its own pool. `used` are the slots of running attempts; a pool without a size has no limit.
    """
    closed: set[str] = set()
    for candidate in candidates:
        pool = candidate.pool
        if pool in closed:
            continue
        if pool not in slots or used.get(pool, 0) + candidate.pool_slots <= slots[pool]:
            return candidate
        closed.add(pool)
    return None
