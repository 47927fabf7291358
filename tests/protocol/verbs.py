"""How attempts end and what follows, and the verbs of a user: one transaction each.

Section 3's "unresolved", section 7's two ways to run again, and as much of rules 8.8-8.9 as they need.
"""

from __future__ import annotations

from .store import Attempt, Refused, StageRun, Store, guarded

MAX_FAILURES = 2
MAX_LOSSES = 3
ENDS = ("success", "failed", "cancelled")


def end(
    store: Store, attempt_id: int, outcome: str, *, retry: bool = True, give_up: int | None = None
) -> None:
    """The attempt reports its own end; `give_up` names an epoch that can never be applied (rule 4.3)."""

    def write() -> None:
        if give_up is not None:
            refuse_epoch(store, store.attempts[attempt_id], give_up)
        else:
            finish_attempt(store, store.attempts[attempt_id], outcome, retry)

    guarded(store, attempt_id, ("end", 0), write)


def refuse_epoch(store: Store, attempt: Attempt, number: int) -> None:
    """The target refuses the epoch for good: an abandon follows in the same transaction."""
    attempt.state, attempt.outcome = "done", "failed"
    stage = store.stages[attempt.run]
    stage.stop_as, stage.abandoning, stage.retry_helps = None, number, False
    store.insert_attempt(stage.run, "abandon")


def take_away(store: Store, attempt_id: int) -> None:
    """Rule 1.4: a lost attempt is ended in one transaction with what follows from it."""
    attempt = store.attempts[attempt_id]
    if attempt.state != "running":
        raise Refused("nothing to take away")
    finish_attempt(store, attempt, "lost", True)


def finish_attempt(store: Store, attempt: Attempt, outcome: str, retry: bool) -> None:
    """End the attempt and apply `stop_as` in place of its outcome (rule 8.8)."""
    attempt.state, attempt.outcome = "done", outcome
    stage = store.stages[attempt.run]
    stage.failures += outcome == "failed"
    stage.losses += outcome == "lost"
    if outcome == "failed":
        stage.retry_helps = retry
    if attempt.only == "abandon":
        _end_abandon(store, stage, outcome)
    elif outcome == "lost" and stage.losses <= MAX_LOSSES and (attempt.only or not stage.stop_as):
        store.insert_attempt(stage.run, attempt.only)
    elif (
        outcome == "failed"
        and retry
        and stage.failures <= MAX_FAILURES
        and not (attempt.only or stage.stop_as)
    ):
        store.insert_attempt(stage.run)
    else:
        conclude(store, stage, stage.stop_as or ("failed" if outcome == "lost" else outcome), attempt.only)


def _end_abandon(store: Store, stage: StageRun, outcome: str) -> None:
    """An epoch that is being given up is never applied any more: only abandon itself may go on."""
    if outcome == "lost" and stage.losses <= MAX_LOSSES:
        store.insert_attempt(stage.run, "abandon")
        return
    stage.state = "failed"
    if outcome == "success":
        assert stage.abandoning is not None
        epoch = stage.epochs[stage.abandoning]
        epoch.state = "abandoned"
        stage.retry_helps = not epoch.decision.final
        stage.unresolved, stage.abandoning = False, None


def conclude(store: Store, stage: StageRun, wanted: str, only: str | None) -> None:
    """Unresolved: no end and no clear while a decided epoch is not applied; apply goes first."""
    if wanted != "success" and stage.unapplied() is not None:
        if only is None:
            stage.stop_as = wanted
            store.insert_attempt(stage.run, "apply")
        else:
            stage.state, stage.unresolved, stage.stop_as = "failed", True, None
        return
    stage.stop_as = None
    if wanted == "cleared":
        start_over(stage)
        store.insert_attempt(stage.run)
    else:
        stage.state = wanted


def start_over(stage: StageRun) -> None:
    """Rules 1.5 and 7.1: the base rises to the highest number so far."""
    stage.base = max(stage.epochs, default=stage.base)
    stage.lives += 1
    stage.retry_helps = True
    stage.failures = stage.losses = stage.live_counters = 0


def clear(store: Store, run: str) -> None:
    """Start over (rule 7.1); asked of a running attempt, done at once otherwise."""
    stage = store.stages[run]
    active = store.active(run)
    if stage.abandoning is not None:
        raise Refused("an epoch is being given up")
    if active is not None and (active.state == "running" or active.only):
        stage.stop_as = "cleared"
        return
    if active is not None:
        active.state, active.outcome, active.known_dead = "done", "cancelled", True
    conclude(store, stage, "cleared", None)


def cancel(store: Store, run: str) -> None:
    """Rule 8.9: asked of what runs; what is queued is withdrawn, but for what must be applied first."""
    stage = store.stages[run]
    active = store.active(run)
    if active is None or active.only == "abandon":
        raise Refused("nothing to cancel")
    if active.state == "running" or active.only:
        stage.stop_as = "cancelled"
        return
    active.state, active.outcome, active.known_dead = "done", "cancelled", True
    conclude(store, stage, "cancelled", None)


def resume(store: Store, run: str) -> None:
    """Retry (rule 7.1): go on from the last decided epoch; a half-done abandon is finished first."""
    stage = store.stages[run]
    if stage.state not in ("failed", "cancelled"):
        raise Refused("nothing to resume")
    if any(epoch.decision.final and epoch.state == "abandoned" for epoch in stage.since_base()):
        raise Refused("the final epoch was given up: clear the run")
    stage.failures = stage.losses = 0
    stage.retry_helps = True
    store.insert_attempt(run, "abandon" if stage.abandoning is not None else None)


def abandon(store: Store, run: str) -> None:
    """Give up the decided epoch of an unresolved stage; the intent is stored before a target is touched."""
    stage = store.stages[run]
    epoch = stage.unapplied()
    if not stage.unresolved or stage.state != "failed" or epoch is None:
        raise Refused("nothing to abandon")
    stage.abandoning = epoch.decision.number
    store.insert_attempt(run, "abandon")


def lose_holder(store: Store, run: str) -> None:
    """The command that held the run was killed: its stage ends failed, and nothing is inserted."""
    attempt = store.active(run)
    if attempt is None:
        raise Refused("nothing runs")
    attempt.known_dead = attempt.known_dead or attempt.state == "queued"
    attempt.state, attempt.outcome = "done", "lost"
    stage = store.stages[run]
    stage.state, stage.stop_as = "failed", None
    stage.unresolved = stage.unapplied() is not None


def has_settled(store: Store, run: str) -> bool:
    """Whether the run has ended and nothing of it is unresolved."""
    stage = store.stages[run]
    return stage.state in ENDS and not stage.unresolved and stage.abandoning is None


def may_prune(store: Store, run: str) -> bool:
    """Rule 1.7: an ended, resolved run, all of whose attempts are known to be dead."""
    return has_settled(store, run) and all(a.known_dead for a in store.attempts.values() if a.run == run)


def prune(store: Store, run: str) -> None:
    """Forget a run; its ledger rows go with it (the caller removes them)."""
    del store.stages[run]
    for attempt in [a for a in store.attempts.values() if a.run == run]:
        del store.attempts[attempt.id]
