"""Alignment against a model that remembers everything, over random orders of arrival."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.alignment import Alignment


def test_a_single_edge_is_aligned_at_once() -> None:
    assert Alignment(["a"]).barrier("a")


def test_an_edge_that_delivered_is_held_until_the_others_have() -> None:
    alignment = Alignment(["a", "b"])
    assert not alignment.barrier("a")
    assert alignment.holds("a")
    assert not alignment.holds("b")
    assert alignment.barrier("b")
    assert not alignment.holds("a")


def test_an_ended_edge_counts_as_aligned_for_good() -> None:
    alignment = Alignment(["a", "b"])
    assert not alignment.end("b")
    assert alignment.barrier("a")
    assert alignment.barrier("a")


def test_an_end_can_complete_an_alignment() -> None:
    alignment = Alignment(["a", "b"])
    alignment.barrier("a")
    assert alignment.end("b")
    assert not alignment.ended
    alignment.end("a")
    assert alignment.ended


@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_every_epoch_aligns_once_whatever_the_order(data: st.DataObject, edges: int, epochs: int) -> None:
    """Each edge sends all its barriers and then its end; held edges wait, as a channel would make them."""
    alignment = Alignment(range(edges))
    left = {edge: ["barrier"] * data.draw(st.integers(0, epochs)) + ["end"] for edge in range(edges)}
    sent = {edge: len(messages) - 1 for edge, messages in left.items()}
    aligned = 0
    while any(left.values()):
        ready = [edge for edge, messages in left.items() if messages and not alignment.holds(edge)]
        assert ready, "a deadlock: every edge is held"
        edge = data.draw(st.sampled_from(ready))
        verb = alignment.barrier if left[edge].pop(0) == "barrier" else alignment.end
        aligned += verb(edge)
    assert alignment.ended
    assert aligned == max(sent.values())
