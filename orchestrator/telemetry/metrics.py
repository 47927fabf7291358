"""What is counted and measured, one function a fact. Each costs nothing where no collector is configured.

Everybody may call them from any thread; a fact is told after the transaction that made it true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from orchestrator.telemetry import names
from orchestrator.telemetry.names import Metric


class Sink(Protocol):
    """Where measurements go."""

    def measure(self, metric: Metric, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Add to a counter, record in a histogram, or set a gauge."""


_sink: Sink | None = None


def attach(sink: Sink | None) -> None:
    """Send measurements there from now on; None: nowhere."""
    global _sink
    _sink = sink


def is_on() -> bool:
    """Whether measurements go anywhere: who would have to look something up for one asks first."""
    return _sink is not None


def attempt_finished(outcome: str, seconds: float, *, dag: str) -> None:
    """An attempt ended `seconds` after its claim."""
    if _sink is not None:
        attributes = {names.OUTCOME: outcome, names.DAG: dag}
        _sink.measure(names.ATTEMPTS_FINISHED, 1, attributes)
        _sink.measure(names.ATTEMPT_DURATION, seconds, attributes)


def queue_delay(seconds: float) -> None:
    """An attempt was claimed `seconds` after it was due."""
    if _sink is not None:
        _sink.measure(names.QUEUE_DELAY, max(seconds, 0.0))


def pickup_delay(seconds: float) -> None:
    """A runner was given its order `seconds` after the claim."""
    if _sink is not None:
        _sink.measure(names.PICKUP_DELAY, max(seconds, 0.0))


def attempts_lost(count: int = 1) -> None:
    """Attempts were taken away from whoever had them."""
    if _sink is not None:
        _sink.measure(names.ATTEMPTS_LOST, count)


def slots(running: int, free: int) -> None:
    """What a worker has in hand, and could take on."""
    if _sink is not None:
        _sink.measure(names.ATTEMPTS_RUNNING, running)
        _sink.measure(names.SLOTS_FREE, free)


def runner_started() -> None:
    """A worker started a runner."""
    if _sink is not None:
        _sink.measure(names.RUNNERS_STARTED, 1)


def rescued(dead: str) -> None:
    """A dead process was found, and its work given to others; `dead` is its kind: worker, command, ..."""
    if _sink is not None:
        _sink.measure(names.RESCUES, 1, {names.DEAD: dead})


def schedule_delay(seconds: float, *, dag: str) -> None:
    """A scheduled run was fired `seconds` after it was due."""
    if _sink is not None:
        _sink.measure(names.SCHEDULE_DELAY, max(seconds, 0.0), {names.DAG: dag})


def run_late(*, dag: str) -> None:
    """Nothing of a scheduled run had started when it should have."""
    if _sink is not None:
        _sink.measure(names.RUNS_LATE, 1, {names.DAG: dag})


def run_ended(state: str, *, dag: str) -> None:
    """A run ended in this state."""
    if _sink is not None:
        _sink.measure(names.RUNS_ENDED, 1, {names.STATE: state, names.DAG: dag})


def rows(count: int, direction: Literal["read", "written", "rejected"], *, dag: str) -> None:
    """A stage that succeeded moved rows."""
    if _sink is not None and count > 0:
        _sink.measure(names.ROWS_MOVED, count, {names.DIRECTION: direction, names.DAG: dag})


def file_parsed(seconds: float) -> None:
    """A DAG file was parsed in this time, or given up after it."""
    if _sink is not None:
        _sink.measure(names.FILES_PARSED, 1)
        _sink.measure(names.PARSE_DURATION, seconds)


def import_errors(count: int, *, bundle: str) -> None:
    """So many files of a bundle cannot be loaded as they are."""
    if _sink is not None:
        _sink.measure(names.IMPORT_ERRORS, count, {names.BUNDLE: bundle})


def change_loaded(seconds: float, *, bundle: str) -> None:
    """A change of a bundle was live `seconds` after it was seen."""
    if _sink is not None:
        _sink.measure(names.LOAD_DELAY, seconds, {names.BUNDLE: bundle})


def transaction(seconds: float) -> None:
    """A transaction of the store was committed `seconds` after it was asked for."""
    if _sink is not None:
        _sink.measure(names.TRANSACTION_DURATION, seconds)


def transaction_retried() -> None:
    """A transaction of the store collided and is run again."""
    if _sink is not None:
        _sink.measure(names.TRANSACTIONS_RETRIED, 1)
