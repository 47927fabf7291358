"""ParquetInput and ParquetOutput beyond the shared suites: types, row groups, clear errors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.parquet import ParquetInput, ParquetOutput
from orchestrator.errors import OperatorError
from orchestrator.sdk.input import InputChanged
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.testing import as_rows, encode, make_context, read_all, read_split, read_with_resume


def write(folder: Path, columns: dict[str, Any], **how: Any) -> ParquetInput:
    pq.write_table(pa.table(columns), folder / "f.parquet", **how)
    return ParquetInput(path="f.parquet")


def test_types_are_canonical_whatever_the_file_says(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        {
            "large": pa.array(["a", None], pa.large_string()),
            "view": pa.array(["a", None], pa.string_view()),
            "dict": pa.array(["a", None]).dictionary_encode(),
            "nested": pa.array([[{"x": "a"}], None], pa.large_list(pa.struct([("x", pa.large_string())]))),
        },
    )
    [batch] = read_all(source, make_context(tmp_path))
    assert source.discover(make_context(tmp_path)) == batch.schema
    assert [str(kind) for kind in batch.schema.types] == [
        "string", "string", "string", "list<item: struct<x: string>>",
    ]  # fmt: skip
    assert batch.to_pylist()[1] == {"large": None, "view": None, "dict": None, "nested": None}


def test_only_the_chosen_columns_are_read_in_the_chosen_order(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1], "b": [{"c": 2, "d": 3}], "e": ["x"]})
    source = ParquetInput(path="f.parquet", columns=("e", "b"))
    [batch] = read_all(source, make_context(tmp_path))
    assert batch.to_pylist() == [{"e": "x", "b": {"c": 2, "d": 3}}]
    assert list(batch.schema.names) == ["e", "b"]


def test_a_column_that_is_not_there_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, {"name": [1]})
    with pytest.raises(OperatorError, match="no column 'nmae'[^$]*did you mean 'name'"):
        read_all(ParquetInput(path="f.parquet", columns=("nmae",)), make_context(tmp_path))


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(OperatorError, match="two columns 'a'"):
        ParquetInput(path="f.parquet").discover(make_context(tmp_path))


def test_a_position_is_a_row_group_and_the_rows_given_of_it(tmp_path: Path) -> None:
    source = write(tmp_path, {"a": list(range(10))}, row_group_size=4)
    context = make_context(tmp_path, batch_rows=3)
    [split] = source.plan(context)
    assert read_split(source, context, split).positions == [
        {"row_group": 0, "rows": 0}, {"row_group": 0, "rows": 3}, {"row_group": 1, "rows": 0},
        {"row_group": 1, "rows": 3}, {"row_group": 2, "rows": 0}, {"row_group": 3, "rows": 0},
        {"row_group": 3, "rows": 0},
    ]  # fmt: skip
    assert len(as_rows(read_with_resume(source, context))) == 10


def test_batches_keep_within_bytes(tmp_path: Path) -> None:
    source = write(tmp_path, {"a": ["x" * 100] * 50})
    batches = read_with_resume(source, make_context(tmp_path, batch_bytes=1000))
    assert max(batch.nbytes for batch in batches) <= 1000
    assert len(as_rows(batches)) == 50


@pytest.mark.parametrize("data", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "f.parquet").write_bytes(data)
    with pytest.raises(OperatorError, match=r"f\.parquet cannot be read as Parquet") as caught:
        read_all(ParquetInput(path="f.parquet"), make_context(tmp_path))
    assert caught.value.hint
    assert not caught.value.retry


def test_pages_that_are_broken_name_the_row_group(tmp_path: Path) -> None:
    write(tmp_path, {"a": [f"text {n}" for n in range(5000)]}, row_group_size=2500, use_dictionary=False)
    path = tmp_path / "f.parquet"
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start + 2 : start + 200] = b"\xff" * 198
    path.write_bytes(data)
    context, source = make_context(tmp_path), ParquetInput(path="f.parquet")
    with pytest.raises(OperatorError, match="row group 1 cannot be read"):
        read_all(source, context)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert ParquetInput(path="none").discover(context) is None
    with pytest.raises(OperatorError, match="there is no file"):
        ParquetInput(path="none").plan(context)
    with pytest.raises(OperatorError, match="is a folder"):
        ParquetInput(path=".").plan(context)


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    source, context = write(tmp_path, {"a": [1]}), make_context(tmp_path)
    [split] = source.plan(context)
    write(tmp_path, {"a": ["another", "one"]})
    with pytest.raises(InputChanged, match="changed since this run began"):
        source.open(context, split, None)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_pages_are_compressed_as_asked(compression: Any) -> None:
    data = encode(ParquetOutput(path="x", compression=compression), [pa.record_batch({"a": [1]})])
    found = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).compression
    assert found == {"zstd": "ZSTD", "snappy": "SNAPPY", "none": "UNCOMPRESSED"}[compression]


def test_batches_are_gathered_into_row_groups_by_rows_and_bytes() -> None:
    batches = pa.table({"a": list(range(100))}).to_batches(max_chunksize=7)

    def groups(**limits: int) -> list[int]:
        data = encode(ParquetOutput(path="x", **limits), batches)  # type: ignore[arg-type]
        meta = pq.ParquetFile(io.BytesIO(data)).metadata
        return [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]

    assert groups() == [100]
    assert groups(row_group_rows=40) == [40, 40, 20]
    assert groups(row_group_rows=3)[:2] == [3, 3]
    assert groups(row_group_bytes=200) == [28, 28, 28, 16]


def test_a_type_that_parquet_cannot_hold_is_refused_before_the_run_and_in_it() -> None:
    interval: Any = pa.month_day_nano_interval()
    schema = pa.schema([pa.field("ok", pa.int64()), pa.field("bad", interval)])
    with pytest.raises(SchemaProblem, match="column 'bad' is month_day_nano_interval") as caught:
        ParquetOutput(path="x").output_schemas({"in": schema})
    assert caught.value.hint
    with pytest.raises(OperatorError, match="column 'bad'"):
        encode(ParquetOutput(path="x"), [], schema)
    assert ParquetOutput(path="x").output_schemas({"in": None}) == {}
