"""The store's side of a runner's requests: each is one transaction, and its answer."""

from __future__ import annotations

import logging
from typing import Any

from orchestrator.engine.progress import StageProgress
from orchestrator.errors import AttemptLost, FustgoError
from orchestrator.store import steps
from orchestrator.store.database import Database
from orchestrator.worker import messages

_log = logging.getLogger("fustgo.worker")


def answer(
    database: Database, request: messages.Open | messages.Decide | messages.Applied
) -> messages.ToRunner:
    """Do what a runner asks (rule 2.8), or say why not."""
    attempt = request.attempt
    try:
        match request:
            case messages.Open():
                return messages.Opened(attempt, steps.opened(database, attempt))
            case messages.Decide():
                steps.decide(database, attempt, request.decision)
            case messages.Applied():
                steps.applied(database, attempt, request.epoch)
    except FustgoError as error:
        return messages.Refused(attempt, error.message, error.hint, lost=isinstance(error, AttemptLost))
    except Exception as error:  # of this request alone
        _log.exception("a request of attempt %s cannot be granted", attempt)
        return messages.Refused(attempt, f"internal error: {error!r}", "the worker's log has more")
    return messages.Done(attempt)


def as_json(progress: StageProgress) -> dict[str, Any]:
    """Progress as the store keeps it."""
    return {
        "epoch": progress.epoch,
        "edges": {edge: vars(figures) for edge, figures in progress.edges.items()},
        "nodes": {node: vars(figures) for node, figures in progress.nodes.items()},
    }
