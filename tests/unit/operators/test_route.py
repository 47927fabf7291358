"""route: each row to exactly one port."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from operators.transforms.route import Route
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.testing import as_rows, make_context, process_all

SCORES = pa.record_batch({"score": pa.array([95, 50, None, 10, 91], pa.int64())})


def test_the_first_condition_that_holds_takes_the_row_and_null_goes_to_the_default(tmp_path: Path) -> None:
    route = Route(routes={"high": "score > 90", "some": "score > 20"}, default="rest")
    given = process_all(route, [SCORES], make_context(tmp_path))
    found = {port: [row["score"] for row in as_rows(batches)] for port, batches in given.items()}
    assert found == {"high": [95, 91], "some": [50], "rest": [None, 10]}


def test_a_batch_that_goes_one_way_is_not_copied(tmp_path: Path) -> None:
    given = process_all(Route(routes={"all": "true"}), [SCORES], make_context(tmp_path))
    assert given["all"] == [SCORES]
    assert given["all"][0] is SCORES
    assert given["default"] == []


def test_ports_are_the_names_and_the_default() -> None:
    route = Route(routes={"high": "score > 90"}, default="rest")
    assert route.output_ports() == ("high", "rest")
    assert route.output_schemas({"in": SCORES.schema}) == {"high": SCORES.schema, "rest": SCORES.schema}
    assert (route["high"].node, route["high"].name) == (route, "high")


def test_a_wrong_condition_is_named_by_its_route() -> None:
    with pytest.raises(SchemaProblem) as caught:
        Route(routes={"high": "score > 90", "odd": "scor > 1"}).output_schemas({"in": SCORES.schema})
    assert caught.value.field == "routes.odd"
    with pytest.raises(ValidationError, match=r"odd: .*function count"):
        Route(routes={"odd": "count(score) > 1"})


@pytest.mark.parametrize("name", ["rejects", "a b", "", "1st", "a.b"])
def test_a_port_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValidationError, match="no name for a port"):
        Route(routes={name: "score > 1"})


def test_the_default_is_no_route() -> None:
    with pytest.raises(ValidationError, match="another name"):
        Route(routes={"rest": "score > 1"}, default="rest")
