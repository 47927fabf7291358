"""Workers, schedulers and runners die or stand still at random: every run ends right, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mixed_chaos import Chaos, Plan
from tests.support.postgres import Cluster
from tests.support.services_site import services_site


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_whoever_is_killed_or_stopped_every_run_ends_right_and_each_effect_is_there_once(
    tmp_path: Path, postgres: Cluster, store: str
) -> None:
    """On PostgreSQL a worker that is taken for one of another host dies too: only its silence tells."""
    name = postgres.create() if store == "postgresql" else ""
    environ = {"FUSTGO_DATABASE__URL": postgres.url(name)} if name else {}
    plan = Plan(24, 12, (0.3, 1.0), stops=(1, 8), seed=3, elsewhere=bool(name), patience=240)
    with services_site(tmp_path, {}, environ) as place:
        told = Chaos(place, plan).run()
        assert told.wrong == [], told
        assert told.blows.total() >= plan.blows - 2, told  # who is weak is spared for a while
        assert told.gaps, told
        assert told.longest < 40, told
    if name:
        postgres.drop(name)
