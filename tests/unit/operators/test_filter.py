"""filter: the rows for which a condition holds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from operators.transforms.filter import Filter
from orchestrator.dag.model import Node
from orchestrator.engine.plan import build_operator
from orchestrator.errors import OperatorError
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.testing import as_rows, make_context, process_all

PEOPLE = pa.record_batch(
    {"name": pa.array(["Ann", "Bob", None, "Dan"]), "age": pa.array([17, 19, 40, None], pa.int64())}
)


def test_rows_pass_where_the_condition_holds_and_go_where_it_is_null(tmp_path: Path) -> None:
    given = process_all(Filter(condition="age > 18"), [PEOPLE], make_context(tmp_path))
    assert [row["age"] for row in as_rows(given["out"])] == [19, 40]


def test_a_batch_that_passes_whole_is_not_copied(tmp_path: Path) -> None:
    given = process_all(Filter(condition="age > 0 or age is null"), [PEOPLE], make_context(tmp_path))
    assert given["out"][0] is PEOPLE


def test_a_batch_of_which_nothing_passes_is_not_sent(tmp_path: Path) -> None:
    for condition in ("age > 100", "false", "null", "age > null"):
        assert process_all(Filter(condition=condition), [PEOPLE], make_context(tmp_path)) == {"out": []}


def test_the_schema_passes_unchanged_and_problems_name_the_field() -> None:
    assert Filter(condition="age > 18").output_schemas({"in": PEOPLE.schema}) == {"out": PEOPLE.schema}
    assert Filter(condition="age > 18").output_schemas({"in": None}) == {"out": None}
    for condition, says in (
        ("agee > 1", "'agee'"),
        ("name > 1", "'name' (string)"),
        ("age + 1", "no condition"),
    ):
        with pytest.raises(SchemaProblem) as caught:
            Filter(condition=condition).output_schemas({"in": PEOPLE.schema})
        assert says in str(caught.value)
        assert caught.value.field == "condition"


def test_a_condition_that_cannot_be_read_is_found_without_a_schema() -> None:
    with pytest.raises(SchemaProblem, match="cannot be read"):
        Filter(condition="age >").output_schemas({"in": None})


def test_words_that_expressions_do_not_know_are_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="function sum"):
        Filter(condition="sum(age) > 1")


def test_a_template_is_left_to_the_runner() -> None:
    node = Filter(condition="age > {{ params.least }}")
    assert node.output_schemas({"in": PEOPLE.schema}) == {"out": PEOPLE.schema}
    with pytest.raises(ValidationError):
        Filter(condition="age > ; 1")


def test_a_row_that_cannot_be_computed_is_a_reject_with_its_place(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    texts = pa.record_batch({"n": pa.array(["1", "x", "3", None, "?"])})
    given = process_all(Filter(condition="cast(n as bigint) > 1"), [texts], context)
    assert as_rows(given["out"]) == [{"n": "3"}]
    assert [(reject.position, reject.record) for reject in context.rejects] == [
        ({"row": 2}, '{"n": "x"}'),
        ({"row": 5}, '{"n": "?"}'),
    ]
    assert "x" in context.rejects[0].reason


def test_a_schema_that_was_not_known_before_the_run_is_checked_then(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no column 'old'") as caught:
        process_all(Filter(condition="old > 18"), [PEOPLE], make_context(tmp_path))
    assert not caught.value.retry


@pytest.mark.parametrize(
    "condition",
    [
        "age > {{ params.least }} and name <> {{ params.who }}",
        "name in ({{ params.names }})",
        "name > {{ ds }} and date {{ ds }} <= date {{ params.day }}",
        "{{ logical_date }} > timestamp {{ ts }} and age > {{ params.least }}",
        "left(name, {{ params.count }}) = lpad(name, 3, {{ params.fill }})",
        "{% if params.all %}true{% else %}age > 18{% endif %}",
    ],
)
def test_a_condition_with_values_yet_to_come_fits_if_some_values_would(condition: str) -> None:
    node = Filter(condition=condition)
    assert node.output_schemas({"in": PEOPLE.schema}) == {"out": PEOPLE.schema}


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("agee > {{ params.least }}", "'agee'"),
        ("age > > {{ params.least }}", "cannot be read"),
        ("age + {{ params.least }}", "no condition"),
        ("sum(age) > {{ params.least }}", "function sum"),
        ("age > date {{ ds }}", "'age'"),
        ("age > {{ ds }}", "'age'"),
        ("age > {{ logical_date }}", "'age'"),
    ],
)
def test_a_condition_that_fits_no_value_is_refused_before_the_run(condition: str, says: str) -> None:
    with pytest.raises(SchemaProblem) as caught:
        Filter(condition=condition).output_schemas({"in": PEOPLE.schema})
    assert says in str(caught.value)
    assert caught.value.field == "condition"


def test_a_value_in_a_condition_is_a_value_and_no_sql() -> None:
    node = Node("f", "filter", "processor", {"condition": "name = {{ params.who }}"})
    registry = Registry(entries=()).with_operators(Filter)
    built = build_operator(node, registry, {"params": {"who": "zz' or 'a'='a"}})
    assert isinstance(built, Filter)
    assert built.condition == "name =  'zz'' or ''a''=''a' "
