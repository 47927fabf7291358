"""Traces: a run, the attempts at its stages inside it, their nodes inside these.

The ids of a trace and its spans follow from the run's uid and the attempts' numbers. So spans that different
processes make join without a word between them, and a span is made when what it tells has ended: nothing
is held open for hours, and nothing is lost with a process that dies meanwhile but the span itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Protocol, TypeAlias
from uuid import UUID

from orchestrator.telemetry import names

Value: TypeAlias = str | int


@dataclass(frozen=True)
class Span:
    """Something that took time, and is over. `error` says why it failed; empty where it did not."""

    name: str
    trace: int
    id: int
    parent: int | None
    started: datetime
    ended: datetime
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""


class Sink(Protocol):
    """Where spans go."""

    def tell(self, span: Span) -> None:
        """Take a span."""


_sink: Sink | None = None


def attach(sink: Sink | None) -> None:
    """Send spans there from now on; None: nowhere."""
    global _sink
    _sink = sink


def is_on() -> bool:
    """Whether spans go anywhere: who would have to look something up for one asks first."""
    return _sink is not None


def run_ended(
    uid: str, *, dag: str, run_id: str, state: str, started: datetime, ended: datetime, error: str = ""
) -> None:
    """A run ended; `error` is told where it did not succeed."""
    if _sink is None:
        return
    attributes = {names.DAG: dag, names.RUN_ID: run_id, names.RUN_UID: uid, names.STATE: state}
    failure = "" if state == "success" else error or state
    _sink.tell(
        Span(f"{names.RUN_SPAN} {dag}", _trace(uid), _run_id(uid), None, started, ended, attributes, failure)
    )


def attempt_ended(
    uid: str,
    attempt: int,
    *,
    dag: str,
    stage: str,
    outcome: str,
    started: datetime,
    ended: datetime,
    nodes: Mapping[str, Mapping[str, object] | None] | None = None,
    error: str = "",
    culprit: str = "",
) -> None:
    """An attempt at a stage of the run `uid` ended.

    `nodes` maps the stage's nodes to their results, of which `rows`, `bytes` and `rejects` are told.
    `culprit` is the node that `error` is about.
    """
    if _sink is None:
        return
    run, own = _run_id(uid), _id(uid, f"attempt {attempt}")
    shared: dict[str, Value] = {
        names.DAG: dag,
        names.RUN_UID: uid,
        names.STAGE: stage,
        names.ATTEMPT: attempt,
    }
    attributes = {**shared, names.OUTCOME: outcome}
    failure = error or outcome if outcome in ("failed", "lost") else ""
    stage_span = f"{names.STAGE_SPAN} {stage}"
    _sink.tell(Span(stage_span, _trace(uid), own, run, started, ended, attributes, failure))
    for node, result in (nodes or {}).items():
        _sink.tell(
            Span(
                f"{names.NODE_SPAN} {node}",
                _trace(uid),
                _id(uid, f"attempt {attempt} node {node}"),
                own,
                started,
                ended,
                {**shared, names.NODE: node, **_counters(result or {})},
                failure if node == culprit else "",
            )
        )


def _counters(result: Mapping[str, object]) -> dict[str, Value]:
    told = {"rows": names.ROWS, "bytes": names.BYTES, "rejects": names.REJECTS}
    found = {told[name]: value for name, value in result.items() if name in told}
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _trace(uid: str) -> int:
    return UUID(uid).int


def _run_id(uid: str) -> int:
    return _id(uid, "run")


def _id(uid: str, what: str) -> int:
    """A span's 64 bits; zero, which means none, does not come up in practice but would be refused."""
    return int.from_bytes(blake2b(f"{uid} {what}".encode(), digest_size=8).digest()) or 1
