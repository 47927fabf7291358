"""Claimers are killed with -9 at random: every run ends, and each stage as graph and outcomes say.

`FUSTGO_CHAOS=50` takes fifty DAGs of up to two hundred stages in place of a few small ones.
"""

from __future__ import annotations

import os

from tests.support.chaos import run_chaos

DAGS = int(os.environ.get("FUSTGO_CHAOS", "0"))


def test_whoever_is_killed_when_every_run_ends_as_its_graph_and_outcomes_say(url: str) -> None:
    found = (
        run_chaos(url, count=DAGS, fewest=20, most=200, claimers=4, seconds=1800)
        if DAGS
        else run_chaos(url, count=6, fewest=10, most=30, seconds=100)
    )
    print(found)
    assert (found.wrong, found.stuck, found.collisions) == ((), (), 0)
    assert found.kills > 0
