"""Names of steps, writers, parts and published files (section 1 of the protocol)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

RESTORE_STEPS = (
    "restore.killed",
    "restore.prepared",
    "restore.ledger_row",
    "restore.staging_removed",
    "restore.checkpoint_read",
    "restore.applied",
    "restore.reopened",
)
EPOCH_STEPS = (
    "part.sealed",
    "folder.synced",
    "epoch.decided",
    "ledger.before_commit",
    "ledger.committed",
    "file.renamed",
    "output.applied",
    "epoch.applied",
)
FINISH_STEPS = ("stage.finished", "staging.removed", "stage.success", "run.ended")

ABANDON_STEPS = ("output.given_up",)

STEPS = RESTORE_STEPS + EPOCH_STEPS + FINISH_STEPS + ABANDON_STEPS
"""Every step of an attempt at which it may be killed, stopped or overtaken. The product's crash points
have the same names."""

FIRING_STEPS = ("schedule.moved", "schedule.fired", "schedule.committed")
"""Every step of a scheduler that fires (rule 11): in its transaction the first two, after it the last."""

WAITING = "waiting"
"""Not a step: the attempt waits for a lock that another session holds."""

DAG = "dag"


def writer(node: str, run: str) -> str:
    """Rule 1.1: DAG, node and run; the same for every attempt and every clear."""
    return f"{DAG}/{node}/{run}"


def ledger_key(node: str, run: str, attempt: int) -> str:
    """Rule 1.6: the ledger's key never holds the attempt."""
    return writer(node, run)


def published(node: str, run: str, epoch: int) -> str:
    """Rule 1.6: neither does a published name."""
    return f"{writer(node, run)}.{epoch:04d}"


class Staged(NamedTuple):
    """The parsed name of a part that is not published. `kind`: part, grown, whole or spool."""

    writer: str
    epoch: int
    attempt: int
    kind: str


def staged(writer: str, epoch: int, attempt: int, kind: str) -> str:
    """Rule 1.6: the name of what is not decided holds writer, epoch and attempt."""
    return f"{writer}.{epoch:04d}.{attempt:04d}.{kind}"


def parse(name: str) -> Staged:
    """The reverse of `staged`."""
    head, epoch, attempt, kind = name.rsplit(".", 3)
    return Staged(head, int(epoch), int(attempt), kind)


def of_epochs_up_to(names: Iterable[str], writer: str, base: int) -> list[str]:
    """Rule 3.3: this writer's parts of an earlier life, by exact names."""
    return [name for name in names if parse(name).writer == writer and parse(name).epoch <= base]


def of_attempts_up_to(names: Iterable[str], writer: str, attempt: int) -> list[str]:
    """Rule 2.7: this writer's parts that this attempt or one before it made."""
    return [name for name in names if parse(name).writer == writer and parse(name).attempt <= attempt]
