"""Which queued attempts are claimed next (rules 9.2-9.4). Pure; slots belong to running attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A queued attempt, as far as the choice looks at it."""

    @property
    def pool(self) -> str: ...

    @property
    def pool_slots(self) -> int: ...

    @property
    def dag(self) -> int: ...


C = TypeVar("C", bound=Candidate)


def choose(candidates: Iterable[C], free: Mapping[str, int], room: Mapping[int, int], limit: int) -> list[C]:
    """The first candidates that fit, in the order given, at most `limit`.

    `free` are the slots that running attempts leave in each pool, `room` how many attempts of each DAG may
    still start; what is chosen takes its share. One that does not fit its pool closes that pool for this
    claim: nothing overtakes it there, so that a stage waits only for its own pool. One of a DAG without room
    is passed over, and closes nothing. A pool or DAG that is not in the mapping has no limit.
    """
    slots, rooms, closed = dict(free), dict(room), set[str]()
    chosen: list[C] = []
    for candidate in candidates:
        if len(chosen) >= limit:
            break
        pool, dag = candidate.pool, candidate.dag
        if pool in closed or rooms.get(dag, 1) < 1:
            continue
        if slots.get(pool, candidate.pool_slots) < candidate.pool_slots:
            closed.add(pool)
            continue
        chosen.append(candidate)
        if pool in slots:
            slots[pool] -= candidate.pool_slots
        if dag in rooms:
            rooms[dag] -= 1
    return chosen
