"""Parquet: joins that encode nothing twice, row groups, columns, and files that are none."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.parquet import ParquetInput, ParquetOutput
from operators.parquet_footer import Reader, Value, Writer, join_footers
from orchestrator.errors import OperatorError
from orchestrator.sdk.input import InputChanged
from orchestrator.sdk.testing import make_context, read_all

TABLE = pa.table(
    {
        "n": pa.array(range(100), pa.int64()),
        "word": pa.array([None if n % 7 == 0 else f"word {n % 5}" for n in range(100)]),
        "nested": pa.array([[n, None] if n % 3 else None for n in range(100)], pa.list_(pa.int32())),
        "price": pa.array([n / 4 for n in range(100)], pa.float64()),
    }
)


def join(folder: Path, tables: list[pa.Table], **options: Any) -> Path:
    parts = []
    for number, table in enumerate(tables):
        parts.append(folder / f"part{number}.parquet")
        pq.write_table(table, parts[-1], row_group_size=9, **options)
    target = folder / "whole.parquet"
    with target.open("wb") as file:
        ParquetOutput(path="out").join(parts, file, TABLE.schema)
    return target


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("cuts", [[], [50], [1, 2, 99], list(range(3, 100, 3))])
def test_joined_parts_read_as_one_by_three_engines(tmp_path: Path, cuts: list[int], compression: str) -> None:
    bounds = [0, *cuts, 100]
    tables = [TABLE.slice(a, b - a) for a, b in pairwise(bounds)]
    whole = join(tmp_path, tables, compression=compression)
    assert pq.read_table(whole).equals(TABLE)
    assert pl.read_parquet(whole).to_arrow().cast(TABLE.schema).equals(TABLE)
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT n, word, nested FROM read_parquet(?)", [str(whole)]).fetchall()
    assert [row[0] for row in rows] == list(range(100))
    assert [row[2] for row in rows] == TABLE["nested"].to_pylist()


def test_statistics_and_row_group_numbers_survive_the_join(tmp_path: Path) -> None:
    metadata = pq.ParquetFile(join(tmp_path, [TABLE.slice(0, 30), TABLE.slice(30)])).metadata
    assert metadata.num_rows == 100
    assert metadata.row_group(4).column(0).statistics.min == 30
    found = pq.read_table(tmp_path / "whole.parquet", filters=[("n", ">=", 95)])
    assert found["n"].to_pylist() == list(range(95, 100))


def test_page_indexes_of_parts_are_left_out_rather_than_wrong(tmp_path: Path) -> None:
    whole = join(tmp_path, [TABLE.slice(0, 50), TABLE.slice(50)], write_page_index=True)
    assert pq.read_table(whole).equals(TABLE)
    assert not pq.ParquetFile(whole).metadata.row_group(0).column(0).has_offset_index


def test_parts_of_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="part 2 has other columns"):
        join(tmp_path, [TABLE, TABLE.select(["n"])])


def test_no_parts_make_a_file_without_rows(tmp_path: Path) -> None:
    found = pq.read_table(join(tmp_path, []))
    assert found.schema.equals(TABLE.schema)
    assert found.num_rows == 0


_leaf = st.one_of(
    st.booleans().map(lambda value: Value(1 if value else 2, value)),
    st.integers(0, 255).map(lambda value: Value(3, value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: Value(6, value)),
    st.floats(allow_nan=False).map(lambda value: Value(7, value)),
    st.binary(max_size=200).map(lambda value: Value(8, value)),
    st.lists(st.integers(-100, 100), max_size=40).map(lambda values: Value(9, (5, values))),
    st.lists(st.booleans(), max_size=20).map(lambda values: Value(9, (1, values))),
    st.lists(st.tuples(st.binary(max_size=5), st.integers(0, 9)), min_size=1, max_size=5).map(
        lambda pairs: Value(11, (8, 5, pairs))
    ),
)
_value = st.recursive(
    _leaf,
    lambda inner: st.dictionaries(st.integers(1, 300), inner, max_size=5).map(lambda value: Value(12, value)),
)


@given(st.dictionaries(st.integers(1, 300), _value, max_size=8))
def test_any_compact_struct_is_written_as_it_was_read(fields: dict[int, Value]) -> None:
    assert Reader(Writer().struct(fields)).struct() == fields


def test_a_real_footer_is_written_byte_for_byte(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - size : -8]
    assert Writer().struct(Reader(footer).struct()) == footer
    with pytest.raises(ValueError, match="ends early"):
        join_footers([(footer[:-20], 0)])


def test_columns_are_chosen_in_order_and_a_missing_one_is_named(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "in.parquet", row_group_size=30)
    source = ParquetInput(path="in.parquet", columns=("word", "n"))
    rows = read_all(source, make_context(tmp_path))
    assert pa.Table.from_batches(rows).equals(TABLE.select(["word", "n"]))
    with pytest.raises(OperatorError, match="no column 'words'") as caught:
        ParquetInput(path="in.parquet", columns=("words",)).discover(make_context(tmp_path))
    assert "word" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"id,name\n1,a\n" * 9])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(OperatorError, match="in.parquet is no Parquet file") as caught:
        read_all(ParquetInput(path="in.parquet"), make_context(tmp_path))
    assert not caught.value.retry


def test_a_file_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "in.parquet")
    source, context = ParquetInput(path="in.parquet"), make_context(tmp_path)
    [split] = source.plan(context)
    pq.write_table(TABLE.slice(5), tmp_path / "in.parquet")
    with pytest.raises(InputChanged, match=r"in\.parquet"):
        source.open(context, split, {"group": 0, "row": 3})
