"""Python functions as processors: how they are declared, found again, called, and what they may return."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import Field, ValidationError

from orchestrator.errors import OperatorError, UsageError
from orchestrator.sdk.context import Context
from orchestrator.sdk.decorated import functions_of
from orchestrator.sdk.function import processor
from orchestrator.sdk.python import Python
from orchestrator.sdk.testing import as_rows, make_context, process_all, process_with_restore

ROWS = pa.record_batch({"n": pa.array([1, 2, None], pa.int64()), "s": pa.array(["a", None, "c"])})


@processor
def scaled(batch: pa.RecordBatch, *, factor: float = 1.0, column: str = "n") -> Any:
    index = batch.schema.get_field_index(column)
    return batch.set_column(index, column, pc.cast(pc.multiply(batch.column(index), factor), pa.int64()))


@processor(outputs=["even", "odd"])
def parted(batch: pa.RecordBatch) -> Iterator[tuple[str, Any]]:
    even: Any = pc.equal(pc.bit_wise_and(batch["n"], 1), pa.scalar(0))
    yield "even", batch.filter(even)
    yield "odd", batch.filter(pc.invert(even))


@processor(rows=True)
def spelled(row: dict[str, Any], *, times: Annotated[int, Field(ge=1)] = 1) -> Any:
    if row["n"] is None:
        return None
    return [{**row, "twice": row["n"] * 2}] * times


@processor(connections=["crm"])
def informed(context: Context, batch: pa.RecordBatch) -> Any:
    context.reject(batch.filter(pc.is_null(batch["n"])), "n is missing")
    return batch.filter(pc.is_valid(batch["n"])).append_column(
        "who", pa.array([context.params["who"]] * 2, pa.string())
    )


class Running:
    """A sum that goes on from batch to batch."""

    def __init__(self, *, start: int = 0) -> None:
        self.total = start

    def process(self, batch: pa.RecordBatch) -> Any:
        totals = []
        for value in batch["n"].to_pylist():
            self.total += value or 0
            totals.append(self.total)
        return batch.append_column("total", pa.array(totals, pa.int64()))

    def finish(self) -> Any:
        return pl.DataFrame({"n": [self.total], "s": ["total"], "total": [self.total]})

    def snapshot(self) -> bytes:
        return str(self.total).encode()

    def restore(self, state: bytes) -> None:
        self.total = int(state)


running = processor(state_version=3)(Running)


class Forgetful:
    def process(self, batch: pa.RecordBatch) -> Any:
        return batch


forgetful = processor(Forgetful)


@processor
class Decorated:
    """pyright follows class decorators; mypy does not."""

    def process(self, batch: pa.RecordBatch) -> Any:
        return batch


@processor
def given(batch: pa.RecordBatch, *, what: str) -> Any:
    """Returns something of each kind."""
    return {
        "batch": batch,
        "table": pa.Table.from_batches([batch, batch]),
        "polars": pl.DataFrame(batch),
        "lazy": pl.DataFrame(batch).lazy().select("n"),
        "none": None,
        "list": [batch, None, pl.DataFrame(batch)],
        "generator": (entry for entry in (batch,)),
        "nulls": batch.append_column("x", pa.nulls(3)),
        "known null": pa.record_batch({"n": pa.nulls(3), "s": pa.array(["x", "y", "z"])}),
        "text": "hello",
        "number": 3,
        "pair": ("out", batch),
        "port": ("up", batch),
    }[what]


def run(node: Python, folder: Path, **fields: Any) -> list[dict[str, Any]]:
    return as_rows(process_all(node, [ROWS], make_context(folder, **fields))["out"])


def test_a_function_maps_batches_with_its_validated_arguments(tmp_path: Path) -> None:
    assert [row["n"] for row in run(scaled("twice", factor="2"), tmp_path)] == [2, 4, None]
    assert scaled("twice", factor="2").config()["arguments"] == {"factor": 2.0}
    assert scaled("same", factor=1.0).config() == {"function": f"{__name__}:scaled"}
    assert (scaled().id, scaled().type) == ("scaled", "python")


def test_the_form_of_a_file_builds_the_same_operator(tmp_path: Path) -> None:
    config = {"function": f"{__name__}:scaled", "arguments": {"factor": 2}}
    assert Python(**config).config() == scaled("x", factor=2).config()  # type: ignore[arg-type]
    assert run(Python(**config), tmp_path) == run(scaled("x", factor=2), tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"factor": "much"}, "argument 'factor' of scaled"),
        ({"factor": "much", "more": 3}, "argument 'factor' of scaled.*scaled takes no argument 'more'"),
        ({"facter": 2}, "scaled takes no argument 'facter'; did you mean 'factor'?"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("?", r"\?")):
        scaled("x", **arguments)
    with pytest.raises(ValidationError, match="'times' of spelled.*greater than or equal to 1"):
        spelled("x", times=0)
    with pytest.raises(ValidationError, match="'what' of given: Field required"):
        given("x")


def test_arguments_of_the_node_stay_the_nodes() -> None:
    node = scaled("x", factor=2, retries=3, pool="slow", drop=("out",))
    assert (node.retries, node.pool, node.drop) == (3, "slow", ("out",))
    assert node.arguments == {"factor": 2.0}


def test_the_undecorated_function_stays_at_hand() -> None:
    assert scaled.function(ROWS, factor=3)["n"].to_pylist() == [3, 6, None]
    with pytest.raises(TypeError, match=r"scaled\.function"):
        scaled(ROWS)  # type: ignore[arg-type]


def test_several_outputs_are_ports(tmp_path: Path) -> None:
    assert parted().output_ports() == ("even", "odd")
    found = process_all(parted(), [ROWS], make_context(tmp_path))
    assert {port: [row["n"] for row in as_rows(batches)] for port, batches in found.items()} == {
        "even": [2],
        "odd": [1],
    }


def test_a_row_becomes_one_several_or_none(tmp_path: Path) -> None:
    assert run(spelled("x", times=2), tmp_path) == [
        {"n": 1, "s": "a", "twice": 2},
        {"n": 1, "s": "a", "twice": 2},
        {"n": 2, "s": None, "twice": 4},
        {"n": 2, "s": None, "twice": 4},
    ]
    assert spelled().row_local
    assert not scaled().row_local


def test_a_context_is_handed_over_and_rows_can_be_refused(tmp_path: Path) -> None:
    context = make_context(tmp_path, names={"params": {"who": "Zoë"}})
    found = process_all(informed(), [ROWS], context)["out"]
    assert [row["who"] for row in as_rows(found)] == ["Zoë", "Zoë"]
    assert [(reject.reason, reject.record) for reject in context.rejects] == [
        ("n is missing", '{"n": null, "s": "c"}')
    ]
    assert informed().connection_names() == ("crm",)


def test_a_class_keeps_state_and_goes_on_after_a_restore(tmp_path: Path) -> None:
    node = running("sum", start=10)
    found = process_with_restore(node, [ROWS, ROWS, ROWS], make_context(tmp_path))["out"]
    assert [row["total"] for row in as_rows(found)] == [11, 13, 13, 14, 16, 16, 17, 19, 19, 19]
    assert (node.stateful, node.can_snapshot, node.state_version) == (True, True, 3)


def test_a_class_that_cannot_be_saved_says_so() -> None:
    assert (forgetful().stateful, forgetful().can_snapshot) == (True, False)
    assert Python(function=f"{__name__}:Decorated").stateful
    assert (forgetful().id, forgetful().function) == ("forgetful", f"{__name__}:forgetful")
    assert (scaled().stateful, scaled().can_snapshot) == (False, True)


@pytest.mark.parametrize(
    ("what", "count"),
    [("batch", 3), ("table", 6), ("polars", 3), ("lazy", 3), ("none", 0), ("list", 6), ("generator", 3)],
)
def test_whatever_holds_rows_may_be_returned(what: str, count: int, tmp_path: Path) -> None:
    found = process_all(given("x", what=what), [ROWS], make_context(tmp_path))["out"]
    assert sum(batch.num_rows for batch in found) == count
    assert all(field.type in (pa.int64(), pa.string()) for batch in found for field in batch.schema)


def test_a_pair_of_port_and_batch_may_be_returned_and_null_columns_take_the_inputs_type(
    tmp_path: Path,
) -> None:
    assert len(run(given("x", what="pair"), tmp_path)) == 3
    [batch] = process_all(given("x", what="known null"), [ROWS], make_context(tmp_path))["out"]
    assert batch.schema == ROWS.schema


@pytest.mark.parametrize(
    ("what", "says", "hint"),
    [
        ("nulls", "column 'x' that is all null", "@processor(schema={'x'"),
        ("text", "returned str", "return a RecordBatch"),
        ("number", "returned int", "return a RecordBatch"),
        ("port", "port 'up'", "out"),
    ],
)
def test_what_is_no_batch_is_an_error(what: str, says: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        run(given("x", what=what), tmp_path)
    assert says in caught.value.message
    assert hint in caught.value.hint
    assert not caught.value.retry


@processor(rows=True, schema={"n": "int32", "t": "timestamp"})
def declared(row: dict[str, Any], *, fail: bool = False) -> Any:
    if fail and row["n"] == 2:
        raise KeyError("two")
    return {"n": row["n"], "t": None}


@processor(rows=True)
def growing(row: dict[str, Any]) -> Any:
    return row if row["n"] == 1 else {**row, "more": 1}


def test_a_declared_schema_is_known_before_the_run_and_holds_in_it(tmp_path: Path) -> None:
    schema = declared().output_schemas({"in": ROWS.schema})["out"]
    assert schema is not None
    assert schema.types == [pa.int32(), pa.timestamp("us")]
    [batch] = process_all(declared(), [ROWS], make_context(tmp_path))["out"]
    assert batch.schema == schema
    assert scaled().output_schemas({"in": ROWS.schema}) == {"out": None}


def test_a_row_that_fails_is_named_with_its_number_and_values(tmp_path: Path) -> None:
    with pytest.raises(
        OperatorError, match="declared failed at row 2 of the batch: KeyError: 'two'"
    ) as caught:
        run(declared("x", fail=True), tmp_path)
    assert "{'n': 2, 's': None}" in caught.value.hint


def test_columns_may_not_change_from_batch_to_batch(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="growing returned a column 'more'"):
        process_all(growing(), [ROWS.slice(0, 1), ROWS.slice(1, 1)], make_context(tmp_path))


def refused(source: str, folder: Path) -> UsageError:
    file = folder / "bad.py"
    file.write_text(f"from orchestrator.sdk.function import processor\n{source}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), {"__name__": "bad"})
    assert f"{file}:" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("def outer():\n  @processor\n  def f(batch): ...\nouter()", 3, "not at module level"),
        ("f = processor(lambda batch: batch)", 2, "not at module level"),
        ("@processor\ndef f(): ...", 2, "takes no batch"),
        ("@processor\ndef f(batch, factor): ...", 2, "takes batch, factor"),
        ("@processor\ndef f(batch, context): ...", 2, "context is not the first"),
        ("@processor\ndef f(batch, **more): ...", 2, "takes *more"),
        ("@processor\ndef f(batch, *, pool): ...", 2, "'pool' is an argument that every node has"),
        ("@processor\nclass F: ...", 2, "no method process"),
        ("@processor\nclass F:\n  def process(s, b): ...\n  def snapshot(s): ...", 2, "only one of snapshot"),
        ("@processor(schema={'a': 'strin'})\ndef f(batch): ...", 2, "did you mean 'string'?"),
        ("@processor(outputs=['rejects'])\ndef f(batch): ...", 2, "none named `rejects`"),
        ("@processor(outputs=['a', 'b'], schema={'c': {'x': 'int'}})\ndef f(batch): ...", 2, "port 'c'"),
    ],
)
def test_what_could_not_be_found_or_called_is_refused_with_its_line(
    source: str, line: int, says: str, tmp_path: Path
) -> None:
    error = refused(source, tmp_path)
    assert says in str(error)
    number = int(error.message.split(":")[1])
    assert abs(number - line) <= 1


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nowhere.at.all:f", "cannot be imported"),
        ("nofunction", "no function"),
        (f"{__name__}:scald", "did you mean 'scaled'?"),
        (f"{__name__}:run", "decorate it with @processor"),
        ("missing.py:f", "missing"),
    ],
)
def test_a_function_that_cannot_be_found_is_refused(reference: str, says: str, tmp_path: Path) -> None:
    with functions_of(tmp_path), pytest.raises(ValidationError) as caught:
        Python(function=reference)
    assert says in str(caught.value)


TREE = """
from __future__ import annotations
from orchestrator.sdk.function import processor

@processor(rows=True)
def shout(row, *, mark: str = "!"):
    return {**row, "s": (row["s"] or "") + mark}
"""


def test_a_file_of_a_tree_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "loud.py").write_text(TREE, encoding="utf-8")
    try:
        with functions_of(tmp_path):
            node = Python(function="flows/loud.py:shout", arguments={"mark": "?"})
        assert [row["s"] for row in run(node, tmp_path)] == ["a?", "?", "c?"]
        from fustgo_dags.flows.loud import shout  # type: ignore[import-not-found]

        assert shout("x", mark="?").config() == node.config()
    finally:
        for name in [name for name in sys.modules if name.startswith("fustgo_dags")]:
            del sys.modules[name]
        sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def test_a_file_that_does_not_import_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    try:
        with (
            functions_of(tmp_path),
            pytest.raises(ValidationError, match="ZeroDivisionError: division by zero"),
        ):
            Python(function="broken.py:f")
    finally:
        sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]
