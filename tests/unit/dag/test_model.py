# ruff: noqa: E501  # a case a line reads best
"""The Dag value: canonical, hashed, and what `fustgo run` does not use of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.dag.header import EngineSettings
from orchestrator.dag.model import Dag, Edge, Node
from orchestrator.dag.unused import is_of_services, unused_settings


def test_ways_to_say_one_thing_are_one_value() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    ways: list[dict[str, Any]] = [
        {"start_date": "2026-01-01", "timezone": "Europe/Berlin", "schedule": "1h30m", "dagrun_timeout": "90m"},
        {"start_date": datetime(2026, 1, 1), "timezone": berlin, "schedule": timedelta(minutes=90),  # noqa: DTZ001
         "dagrun_timeout": timedelta(hours=1.5)},
        {"start_date": datetime(2025, 12, 31, 23, tzinfo=UTC), "timezone": "Europe/Berlin", "schedule": "90m",
         "dagrun_timeout": 5400, "settings": {"mode": "async"}, "catchup": False},
    ]  # fmt: skip
    first, *others = (Dag(id="d", **way) for way in ways)
    for other in others:
        assert other == first
        assert other.hash() == first.hash()
    assert first.to_document() == {
        "format": 1,
        "id": "d",
        "timezone": "Europe/Berlin",
        "schedule": "1h30m",
        "start_date": "2026-01-01T00:00:00+01:00",
        "dagrun_timeout": "1h30m",
        "nodes": [],
    }


def test_any_difference_shows_in_the_hash() -> None:
    base = Dag(
        id="d", nodes=(Node("a", "t", "input"), Node("b", "t", "output")), edges=(Edge.stream("a", "b"),)
    )
    changed = [
        base.model_copy(update={"id": "e"}),
        base.model_copy(update={"edges": (Edge.control("a", "b"),)}),
        base.model_copy(update={"edges": (Edge.stream("a", "b", source_port="rejects"),)}),
        base.model_copy(update={"nodes": (Node("a", "t", "input", {"x": 1}), base.nodes[1])}),
        base.model_copy(update={"nodes": (Node("a", "t", "input", state_version=1), base.nodes[1])}),
        base.model_copy(update={"nodes": (Node("a", "t", "input", drop=("out",)), base.nodes[1])}),
        base.model_copy(update={"nodes": base.nodes[::-1]}),
    ]
    assert len({dag.hash() for dag in [base, *changed]}) == 8
    for dag in changed:
        assert Dag.from_document(dag.to_document()) == dag


def test_the_value_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Dag(id="d").id = "e"


def test_settings_that_the_command_does_not_use_are_listed() -> None:
    dag = Dag(
        id="d",
        schedule="@daily",
        catchup=True,
        settings=EngineSettings.model_validate({"mode": "sync", "batch_size": 5, "buffer": {"rows": 1}}),
        default_args={"retries": 1, "execution_timeout": "1h"},
        nodes=(Node("a", "generate", "input", {"rows": 1}, {"queue": "gpu", "readers": 2, "retries": 3}),),
    )
    assert unused_settings(dag) == [
        "schedule", "catchup", "settings.mode", "settings.buffer", "a.queue", "a.readers",
    ]  # fmt: skip
    of_services = [name for name in unused_settings(dag) if is_of_services(name)]
    assert of_services == ["schedule", "catchup", "a.queue"]
    assert unused_settings(Dag(id="d")) == []
