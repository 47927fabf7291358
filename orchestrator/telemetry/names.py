"""Every name under which the program tells about itself: metrics, spans, attributes.

They are an interface: dashboards and alerts are built on them. docs/telemetry.md lists the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Metric:
    """One thing that is measured. Units are those of UCUM: `s` are seconds, `{run}` counts runs."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


# Attributes of metrics and spans.
DAG: Final = "fustgo.dag"
RUN_ID: Final = "fustgo.run.id"
RUN_UID: Final = "fustgo.run.uid"
STAGE: Final = "fustgo.stage"
NODE: Final = "fustgo.node"
ATTEMPT: Final = "fustgo.attempt"
OUTCOME: Final = "fustgo.outcome"
STATE: Final = "fustgo.state"
DIRECTION: Final = "fustgo.direction"
DEAD: Final = "fustgo.dead"
BUNDLE: Final = "fustgo.bundle"
ROWS: Final = "fustgo.rows"
BYTES: Final = "fustgo.bytes"
REJECTS: Final = "fustgo.rejects"
LOGGER: Final = "fustgo.logger"
ATTRIBUTES: Final = {
    DAG: "id of the DAG",
    RUN_ID: "run id, unique in its DAG",
    RUN_UID: "uid of the run; without hyphens, the id of its trace",
    STAGE: "id of the stage",
    NODE: "id of the node",
    ATTEMPT: "number of the attempt",
    OUTCOME: "how an attempt ended: success, failed, snoozed, paused, drained, cancelled, lost",
    STATE: "how a run ended: success, failed, cancelled",
    DIRECTION: "of rows: read, written, rejected",
    DEAD: "what had died: worker, scheduler, command",
    BUNDLE: "name of the bundle",
    ROWS: "rows of the node",
    BYTES: "bytes of the node",
    REJECTS: "rows that the node refused",
    LOGGER: "of a log line: the part that speaks",
}

# Spans. A trace is a run; a span of a stage is one attempt, a span of a node lies inside it.
RUN_SPAN: Final = "run"
STAGE_SPAN: Final = "stage"
NODE_SPAN: Final = "node"
SPANS: Final = {
    RUN_SPAN: "one run, from its start to its end; its name is followed by the DAG's id",
    STAGE_SPAN: "one attempt at a stage, from its claim to its end; its name is followed by the stage's id",
    NODE_SPAN: "one node during that attempt; its name is followed by the node's id",
}

ATTEMPTS_FINISHED: Final = Metric(
    "fustgo.attempts.finished", "counter", "{attempt}", "attempts that ended", (OUTCOME, DAG)
)
ATTEMPT_DURATION: Final = Metric(
    "fustgo.attempt.duration", "histogram", "s", "from an attempt's claim to its end", (OUTCOME, DAG)
)
QUEUE_DELAY: Final = Metric(
    "fustgo.attempt.queue_delay", "histogram", "s", "from the moment an attempt is due to its claim"
)
PICKUP_DELAY: Final = Metric(
    "fustgo.attempt.pickup_delay", "histogram", "s", "from an attempt's claim until a runner has its order"
)
ATTEMPTS_LOST: Final = Metric(
    "fustgo.attempts.lost", "counter", "{attempt}", "attempts taken away from a worker or runner that died"
)
ATTEMPTS_RUNNING: Final = Metric(
    "fustgo.attempts.running", "gauge", "{attempt}", "attempts that this worker is running"
)
SLOTS_FREE: Final = Metric("fustgo.slots.free", "gauge", "{slot}", "attempts that this worker could take on")
RUNNERS_STARTED: Final = Metric("fustgo.runners.started", "counter", "{runner}", "runners that were started")
RESCUES: Final = Metric(
    "fustgo.rescues", "counter", "{process}", "dead processes whose work was rescued", (DEAD,)
)
SCHEDULE_DELAY: Final = Metric(
    "fustgo.schedule.delay",
    "histogram",
    "s",
    "from the moment a scheduled run is due until it is fired",
    (DAG,),
)
RUNS_LATE: Final = Metric(
    "fustgo.runs.late",
    "counter",
    "{run}",
    "scheduled runs of which nothing had started 15 s after they were due",
    (DAG,),
)
RUNS_ENDED: Final = Metric("fustgo.runs.ended", "counter", "{run}", "runs that ended", (STATE, DAG))
ROWS_MOVED: Final = Metric(
    "fustgo.rows.moved",
    "counter",
    "{row}",
    "rows that stages which succeeded read, wrote or refused",
    (DIRECTION, DAG),
)
FILES_PARSED: Final = Metric(
    "fustgo.files.parsed", "counter", "{file}", "DAG files that were parsed, also those with an error"
)
PARSE_DURATION: Final = Metric("fustgo.parse.duration", "histogram", "s", "time that parsing a DAG file took")
IMPORT_ERRORS: Final = Metric(
    "fustgo.import_errors", "gauge", "{file}", "DAG files that cannot be loaded as they are", (BUNDLE,)
)
LOAD_DELAY: Final = Metric(
    "fustgo.load.delay",
    "histogram",
    "s",
    "from the look that saw a change of a bundle until it was live",
    (BUNDLE,),
)
TRANSACTION_DURATION: Final = Metric(
    "fustgo.store.transaction.duration",
    "histogram",
    "s",
    "time of a transaction that writes to the store, waiting for others included",
)
TRANSACTIONS_RETRIED: Final = Metric(
    "fustgo.store.transactions.retried",
    "counter",
    "{transaction}",
    "transactions that collided and were run again",
)
METRICS: Final = (
    ATTEMPTS_FINISHED,
    ATTEMPT_DURATION,
    QUEUE_DELAY,
    PICKUP_DELAY,
    ATTEMPTS_LOST,
    ATTEMPTS_RUNNING,
    SLOTS_FREE,
    RUNNERS_STARTED,
    RESCUES,
    SCHEDULE_DELAY,
    RUNS_LATE,
    RUNS_ENDED,
    ROWS_MOVED,
    FILES_PARSED,
    PARSE_DURATION,
    IMPORT_ERRORS,
    LOAD_DELAY,
    TRANSACTION_DURATION,
    TRANSACTIONS_RETRIED,
)
