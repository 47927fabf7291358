"""The kill suite is only worth something if it fails when a rule is broken.

Each bug replaces one of our functions in the child process. With it, killing and resuming must end in a
target that is not whole, or in a failure; without it, the same course must end well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.acceptance.test_kill_and_resume import assert_whole, write_dag
from tests.support.commands import KILLED, Shell


def ledger_by_attempt() -> None:
    """Rule 1.1: a key that holds the attempt makes a retry write twice."""
    from orchestrator.runs.order import Order

    Order.writer = lambda self, node: f"{self.dag_uid}:{node}:{self.run_uid}:{self.attempt}"  # type: ignore[method-assign]


def ledger_by_dag() -> None:
    """Rule 1.1: a key without the run makes a second run skip its rows."""
    from orchestrator.runs.order import Order

    Order.writer = lambda self, node: f"{self.dag_uid}:{node}"  # type: ignore[method-assign]


def names_without_attempt() -> None:
    """Rule 1.6: staged names that do not hold the attempt meet those of the dead one."""
    from orchestrator.engine.parts import PartName

    PartName.__str__ = lambda self: f"{self.writer}@{self.epoch:06d}@0{self.suffix}"  # type: ignore[method-assign]


def owed_epoch_forgotten() -> None:
    """Rule 3.6: what was decided must be applied before anything else."""
    from orchestrator.engine.pipeline import Attempt

    Attempt._settle = lambda self, checkpoint: None  # type: ignore[method-assign]


def applied_before_decided() -> None:
    """Rule 2.5: publishing what is not decided yet shows rows that a resume reads again."""
    from orchestrator.engine.pipeline import Attempt

    decide = Attempt._decide

    def apply_first(self: Attempt, epoch: object) -> None:
        decision = epoch.decision()  # type: ignore[attr-defined]
        for target in self._stage.targets.values():
            target.apply(decision, [token for token in decision.tokens if token.node == target.node])
        from orchestrator.crash import crash_point

        crash_point("bug.published")
        decide(self, epoch)  # type: ignore[arg-type]

    Attempt._decide = apply_first  # type: ignore[method-assign]


def position_too_early() -> None:
    """Rule 2.2: a position taken before the batch is out gives its rows twice."""
    from orchestrator.engine.task import InputTask

    pump, acknowledge = InputTask._pump, InputTask.acknowledgement

    def remember(self: InputTask) -> object:
        self.early = self._reader.position if self._reader else None  # type: ignore[attr-defined]
        return pump(self)

    def share(self: InputTask, epoch: int, *, final: bool = False) -> object:
        from dataclasses import replace

        right = acknowledge(self, epoch, final=final)
        return right if final else replace(right, position={**right.position, "at": self.early})  # type: ignore[attr-defined]

    InputTask._pump, InputTask.acknowledgement = remember, share  # type: ignore[method-assign, assignment]


def counters_outside_epoch() -> None:
    """Rule 2.2: counters that are not continued from the checkpoint are wrong after a resume."""
    from orchestrator.engine.node import NodeTask

    NodeTask.restore_counters = lambda self, counters: setattr(self, "ended", counters["ended"])  # type: ignore[method-assign]


def content_from_memory() -> None:
    """Rule 2.5: an apply that needs what the dead process held in memory has nothing to apply."""
    from orchestrator.engine.spool import SpoolTarget

    write, apply = SpoolTarget.write, SpoolTarget.apply

    def keep(self: SpoolTarget, batch: object) -> None:
        self.seen = True  # type: ignore[attr-defined]
        write(self, batch)  # type: ignore[arg-type]

    def only_if_seen(self: SpoolTarget, decision: object, tokens: object) -> None:
        apply(self, decision, tokens if getattr(self, "seen", False) else [])  # type: ignore[arg-type]

    SpoolTarget.write, SpoolTarget.apply = keep, only_if_seen  # type: ignore[method-assign]


def parts_not_removed() -> None:
    """Rule 2.7: what dead attempts have staged must go."""
    from orchestrator.engine.parts import PartFolder

    PartFolder.remove_up_to_attempt = lambda self, writer, attempt: None  # type: ignore[method-assign]


@dataclass(frozen=True)
class Course:
    """A bug, and the kill that brings it to light."""

    bug: Callable[[], None]
    target: str
    crash: str
    batches: int = 2  # the resumed run's checkpoint interval, in batches


COURSES = [
    Course(ledger_by_attempt, "sqlite", "ledger.committed@2"),
    Course(names_without_attempt, "csv", "part.sealed@1"),
    Course(owed_epoch_forgotten, "sqlite", "epoch.decided@2"),
    Course(applied_before_decided, "sqlite", "bug.published@2", batches=3),
    Course(position_too_early, "sqlite", "epoch.applied@2"),
    Course(counters_outside_epoch, "sqlite", "epoch.applied@2"),
    Course(content_from_memory, "sqlite", "epoch.decided@2"),
    Course(parts_not_removed, "parquet", "epoch.applied@2"),
]


def ends_well(shell: Shell, course: Course, bug: Callable[[], None] | None) -> bool:
    """Kill and resume; whether everything is as a straight run leaves it, counters included."""
    file = write_dag(shell, course.target)
    crash = course.crash if bug is not None else course.crash.replace("bug.published", "part.sealed")
    assert shell.run("run", file, crash=crash, before=bug).code == KILLED
    document = json.loads((shell.folder / file).read_text())
    document["settings"]["checkpoint"]["every_batches"] = course.batches
    (shell.folder / file).write_text(json.dumps(document))
    if shell.run("run", file, "--resume", before=bug).code != 0:
        return False
    shown = json.loads(shell.run("runs", "show", "1", "--json").out)
    try:
        assert shown["stages"][0]["nodes"]["people"]["rows_out"] == 40
        assert_whole(shell, course.target)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.bug.__name__)
def test_a_broken_rule_is_caught(shell: Shell, course: Course) -> None:
    assert not ends_well(shell, course, course.bug)


@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.bug.__name__)
def test_the_same_course_ends_well_without_the_bug(shell: Shell, course: Course) -> None:
    assert ends_well(shell, course, None)


def test_two_runs_that_share_a_ledger_key_are_caught(shell: Shell) -> None:
    """Rule 1.1, by DAG: the second run's rows are skipped."""
    import sqlite3

    file = write_dag(shell, "sqlite")
    counts = []
    for _ in range(2):
        assert shell.run("run", file, before=ledger_by_dag).code == 0
        connection = sqlite3.connect(shell.folder / "out/people.db")
        counts.append(connection.execute("SELECT count(*) FROM people").fetchone()[0])
        connection.close()
    assert counts[1] != 2 * counts[0]
