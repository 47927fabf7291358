"""mapping: rename, compute, convert, leave out."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from operators.transforms.mapping import Mapping
from orchestrator.errors import OperatorError
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.testing import RecordingContext, as_rows, make_context, process_all

PEOPLE = pa.record_batch(
    {
        "first": pa.array(["Ann", "Bob"]),
        "last": pa.array(["Ash", None]),
        "age": pa.array([17, 19], pa.int64()),
    }
)


def run(mapping: Mapping, batch: pa.RecordBatch, context: RecordingContext) -> pa.RecordBatch:
    [made] = process_all(mapping, [batch], context)["out"]
    assert made.schema == mapping.output_schemas({"in": batch.schema})["out"]
    return made


def test_columns_are_renamed_and_others_pass_in_order_uncopied(tmp_path: Path) -> None:
    made = run(Mapping(mappings={"first": "given"}), PEOPLE, make_context(tmp_path))
    assert made.schema.names == ["given", "last", "age"]
    assert made.column(0).buffers()[2].address == PEOPLE.column(0).buffers()[2].address  # type: ignore[union-attr]


def test_computed_columns_see_what_arrives_and_come_last(tmp_path: Path) -> None:
    mapping = Mapping(
        mappings={"first": "given"}, columns={"initial": "left(first, 1)", "next": "age + 1", "kind": "'x'"}
    )
    assert as_rows([run(mapping, PEOPLE, make_context(tmp_path))]) == [
        {"given": "Ann", "last": "Ash", "age": 17, "initial": "A", "next": 18, "kind": "x"},
        {"given": "Bob", "last": None, "age": 19, "initial": "B", "next": 20, "kind": "x"},
    ]


def test_names_may_be_swapped_and_a_removed_one_used_again(tmp_path: Path) -> None:
    swapped = run(Mapping(mappings={"first": "last", "last": "first"}), PEOPLE, make_context(tmp_path))
    assert as_rows([swapped])[0] == {"last": "Ann", "first": "Ash", "age": 17}
    replaced = Mapping(columns={"age": "age * 2"}, remove=["age"])
    assert as_rows([run(replaced, PEOPLE, make_context(tmp_path))])[0]["age"] == 34


CONVERTED = [
    ("int64", ["1", " 2", "x", None, "3.5", "9223372036854775808"], [1, None, None]),
    ("float64", ["1.5", "1e3", "", None], [1.5, 1000.0, None]),
    ("bool", ["true", "0", "maybe", None], [True, False, None]),
    ("date", ["2024-02-29", "2024-02-30", "29.2.2024", None], [date(2024, 2, 29), None]),
    ("decimal(6, 2)", ["1.25", "1.255", "99999.00", None], [Decimal("1.25"), None]),
]


@pytest.mark.parametrize(("wanted", "values", "kept"), CONVERTED)
def test_texts_convert_exactly_or_their_row_is_rejected(
    wanted: str, values: list[Any], kept: list[Any], tmp_path: Path
) -> None:
    context = make_context(tmp_path)
    batch = pa.record_batch({"row": pa.array(range(len(values))), "v": pa.array(values)})
    [made] = process_all(Mapping(types={"v": wanted}), [batch], context)["out"]
    rejected = {reject.position["row"] - 1 for reject in context.rejects}
    assert set(made["row"].to_pylist()) | rejected == set(range(len(values)))
    assert not set(made["row"].to_pylist()) & rejected
    converted = dict(zip(made["row"].to_pylist(), made["v"].to_pylist(), strict=True))
    assert all(converted[row] is None for row, value in enumerate(values) if value is None)
    assert [value for value in converted.values() if value is not None] == [v for v in kept if v is not None]
    for reject in context.rejects:
        assert "column 'v'" in reject.reason
        assert wanted in reject.reason
        assert repr(values[reject.position["row"] - 1]) in reject.reason


def test_a_conversion_that_would_lose_something_is_a_reject(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    batch = pa.record_batch({"a": pa.array([1.0, 1.5]), "b": pa.array([1, 300], pa.int64())})
    process_all(Mapping(types={"a": "int64", "b": "int8"}), [batch], context)
    assert [reject.position for reject in context.rejects] == [{"row": 2}]
    assert context.rejects[0].record == '{"a": 1.5, "b": 300}'


def test_a_batch_of_which_every_row_is_rejected_is_not_sent(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    batch = pa.record_batch({"v": pa.array(["x"] * 500)})
    assert process_all(Mapping(types={"v": "int64"}), [batch], context) == {"out": []}
    assert len(context.rejects) == 500


def test_a_row_whose_expression_fails_is_a_reject(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    batch = pa.record_batch({"v": pa.array(["1", "x", "3"])})
    [made] = process_all(Mapping(columns={"n": "cast(v as bigint)"}), [batch], context)["out"]
    assert made["n"].to_pylist() == [1, 3]
    assert [reject.position for reject in context.rejects] == [{"row": 2}]


PROBLEMS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"mappings": {"frist": "x"}}, "no column 'frist'", "did you mean 'first'?", "mappings.frist"),
    ({"remove": ["x"]}, "no column 'x'", "", "remove.0"),
    ({"types": {"x": "int64"}}, "no column 'x'", "", "types.x"),
    (
        {"mappings": {"first": "last"}},
        "two columns would be named 'last'",
        "rename or remove",
        "mappings.first",
    ),
    ({"columns": {"age": "1"}}, "a column 'age' already", "remove: [age]", "columns.age"),
    ({"columns": {"x": "agee + 1"}}, "no column 'agee'", "did you mean 'age'?", "columns.x"),
    ({"mappings": {"first": "x"}, "remove": ["first"]}, "renamed and removed", "", "remove.0"),
    ({"types": {"age": "list<int64>"}}, "cannot become list<int64>", "", "types.age"),
]


@pytest.mark.parametrize(("config", "says", "hint", "field"), PROBLEMS)
def test_what_does_not_fit_is_found_before_the_run_and_in_it(
    config: dict[str, Any], says: str, hint: str, field: str, tmp_path: Path
) -> None:
    with pytest.raises(SchemaProblem) as caught:
        Mapping(**config).output_schemas({"in": PEOPLE.schema})
    assert says in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.field == field
    with pytest.raises(OperatorError, match=says.replace("[", ".")):
        process_all(Mapping(**config), [PEOPLE], make_context(tmp_path))


def test_all_that_does_not_fit_is_found_at_once_and_nothing_twice() -> None:
    mapping = Mapping(
        mappings={"frist": "given", "first": "last"},
        columns={"a": "agee + 1", "b": "first + 1", "age": "1"},
        types={"given": "int64", "a": "string", "zz": "int64"},
        remove=["x"],
    )
    with pytest.raises(SchemaProblem) as caught:
        mapping.output_schemas({"in": PEOPLE.schema})
    fields = [problem.field for problem in caught.value.all]
    assert fields == [
        "columns.a", "columns.b", "mappings.frist", "remove.0", "mappings.first", "columns.age", "types.zz",
    ]  # fmt: skip


def test_a_wrong_type_or_word_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="did you mean 'string'"):
        Mapping(types={"a": "strin"})
    with pytest.raises(ValidationError, match=r"a: .*function sum"):
        Mapping(columns={"a": "sum(b)"})
