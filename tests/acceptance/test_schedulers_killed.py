"""Two schedulers on one store, one of them killed with -9 again and again: each tick fires once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.firing_chaos import NOT_PAUSED, FiringChaos, write_each_second
from tests.support.postgres import Cluster
from tests.support.services_site import services_site


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_tick_is_fired_twice_and_none_is_missed(tmp_path: Path, postgres: Cluster, store: str) -> None:
    name = postgres.create() if store == "postgresql" else ""
    environ = {**NOT_PAUSED, **({"FUSTGO_DATABASE__URL": postgres.url(name)} if name else {})}
    with services_site(tmp_path, {}, environ) as place:
        write_each_second(place, 5)
        told = FiringChaos(place, seconds=6, away=(0.2, 1.2), seed=2).run()
    assert told.wrong == [], told
    assert told.kills, told
    assert told.crashes, told
    assert told.ticks >= 5 * 6, told
    if name:
        postgres.drop(name)
