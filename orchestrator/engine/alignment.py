"""Barrier alignment of a node with several incoming edges; pure.

An edge that delivered the barrier is held until all others have delivered it too (Chandy and Lamport
1985, in the aligned form of Carbone et al. 2015). An edge that has ended counts as aligned for good.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable


class Alignment:
    """Which edges have delivered the barrier of the epoch under way."""

    def __init__(self, edges: Iterable[Hashable]) -> None:
        self._open = set(edges)
        self._arrived: set[Hashable] = set()

    def barrier(self, edge: Hashable) -> bool:
        """An edge delivered the barrier; true when the node is aligned, and then the hold is over."""
        self._arrived.add(edge)
        return self._aligned()

    def end(self, edge: Hashable) -> bool:
        """An edge ended; true when this completed an alignment that had begun."""
        self._open.discard(edge)
        self._arrived.discard(edge)
        return bool(self._arrived) and self._aligned()

    def holds(self, edge: Hashable) -> bool:
        """Whether batches of this edge must wait for the other edges' barriers."""
        return edge in self._arrived

    @property
    def ended(self) -> bool:
        """Whether every edge has ended."""
        return not self._open

    def _aligned(self) -> bool:
        if self._arrived < self._open:
            return False
        self._arrived.clear()
        return True
