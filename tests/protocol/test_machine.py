"""The protocol as a state machine: two runs of one DAG, kills, zombies, lost answers, verbs, at any step."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from .attempt import Pace
from .bugs import LISTED, Bug
from .explorer import settle, wander
from .invariants import Violation
from .store import Refused
from .world import RUNS, TARGETS, World

ALL_VERBS = ("clear", "cancel", "resume", "abandon", "lose_holder", "prune")
PAIRS = (("append", "folder"), ("upsert", "grown"), ("overwrite", "joined"), ("append", "joined_if_absent"))
MIXES = [((kind,), False) for kind in TARGETS] + [(pair, False) for pair in PAIRS]
MIXES += [((kind,), True) for kind in ("append", "upsert", "folder", "grown", "overwrite")]

PICK = st.integers(0, 5)
"""Which of those that are there; taken modulo their number."""


class Protocol(RuleBasedStateMachine):
    """Every action of the world ends with its invariants (`invariants.check_always`, `check_at_success`)."""

    @initialize(mix=st.sampled_from(MIXES))
    def begin(self, mix: tuple[tuple[str, ...], bool]) -> None:
        self.world = World(mix[0], dag_scoped=mix[1])

    def living(self, pick: int) -> int:
        alive = sorted(self.world.lives)
        return alive[pick % len(alive)]

    @precondition(lambda self: self.world.queued())
    @rule(pick=PICK, host=st.integers(0, 1), rows=st.integers(1, 4), ahead=st.booleans())
    def claim(self, pick: int, host: int, rows: int, ahead: bool) -> None:
        queued = self.world.queued()
        with suppress(Refused):
            self.world.claim(queued[pick % len(queued)].id, Pace(rows, ahead), host)

    @precondition(lambda self: self.world.lives)
    @rule(pick=PICK, steps=st.integers(1, 12))
    def walk(self, pick: int, steps: int) -> None:
        number = self.living(pick)
        for _ in range(steps):
            if number in self.world.lives:
                self.world.step(number)

    @precondition(lambda self: self.world.lives)
    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        self.world.kill(self.living(pick))

    @precondition(lambda self: self.world.lives)
    @rule(pick=PICK)
    def cut_its_connections(self, pick: int) -> None:
        self.world.cut(self.living(pick))

    @precondition(lambda self: any(a.state == "running" for a in self.world.store.attempts.values()))
    @rule(pick=PICK)
    def declare_lost(self, pick: int) -> None:
        """Whether it is dead or not: what lives on is a zombie."""
        running = [a.id for a in self.world.store.attempts.values() if a.state == "running"]
        self.world.take_away(running[pick % len(running)])

    @rule()
    def lose_the_next_answer(self) -> None:
        self.world.answers_to_lose = 1

    @rule(verb=st.sampled_from(ALL_VERBS), run=st.sampled_from(RUNS))
    def verb(self, verb: str, run: str) -> None:
        with suppress(Refused):
            if run in self.world.store.stages:
                self.world.verb(verb, run)

    def teardown(self) -> None:
        """Whatever happened, everything comes to a good end."""
        if hasattr(self, "world"):
            self.world.answers_to_lose = 0
            settle(self.world)


Protocol.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestProtocol = Protocol.TestCase


OBVIOUS = ("ledger keyed by DAG", "content from memory", "last decided epoch not applied on restore")


@pytest.mark.parametrize("bug", [bug for bug in LISTED if bug.name in OBVIOUS], ids=lambda bug: bug.name)
def test_the_machine_notices_a_rule_taken_away(bug: Bug) -> None:
    """It can fail; that every bug is found is shown by the deterministic histories of test_bugs."""
    quick = settings(Protocol.TestCase.settings, phases=[Phase.generate], report_multiple_bugs=False)
    with bug.seeded(), pytest.raises(Violation):
        run_state_machine_as_test(Protocol, settings=quick)


@pytest.mark.parametrize(("targets", "dag_scoped"), MIXES, ids=str)
def test_random_histories_lose_double_and_block_nothing(targets: tuple[str, ...], dag_scoped: bool) -> None:
    """The same actions in longer and denser histories, with up to two zombies."""
    for seed in range(100):
        world = World(targets, dag_scoped=dag_scoped)
        wander(world, seed, verbs=ALL_VERBS, zombies=1 + seed % 2, steps=90)
