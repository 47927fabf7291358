"""What every test gets: a home of its own, none of the developer's settings, no deadlines."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import Cluster, cluster

# Deadlines measure the machine, not the code. `derandomize` makes a failure of one run one of all.
settings.register_profile(
    "fustgo", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("fustgo")

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `FUSTGO_HOME` of this test, not yet created; no other `FUSTGO_*` variable is set."""
    for name in [name for name in os.environ if name.startswith("FUSTGO_")]:
        monkeypatch.delenv(name)
    path = tmp_path_factory.getbasetemp() / f"home{next(_numbers)}"
    monkeypatch.setenv("FUSTGO_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server, started by the first test that asks for it."""
    with cluster() as running:
        yield running
