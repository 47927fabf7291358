"""Parts are joined by copying their bytes: every reader finds each row, statistic and dictionary."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.parquet import ParquetOutput
from operators.parquet_footer import join_files, read_footer
from operators.parquet_thrift import Items, Pairs, Struct, ThriftError, read_struct, write_struct
from orchestrator.errors import OperatorError

MOMENT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
TABLE = pa.table(
    {
        "n": pa.array(range(1000), pa.int64()),
        "word": [f"word {n % 7}" if n % 11 else None for n in range(1000)],
        "unique": [f"{n:06d} Zoë" for n in range(1000)],
        "list": [list(range(n % 4)) if n % 5 else None for n in range(1000)],
        "struct": [{"x": n, "y": {"z": [str(n)]}} for n in range(1000)],
        "price": pa.array([Decimal(n) / 100 for n in range(1000)], pa.decimal128(10, 2)),
        "day": pa.array([dt.date(2024, 1, 1)] * 1000),
        "moment": pa.array(
            [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 1000, pa.timestamp("us", "Europe/Berlin")
        ),
        "nothing": pa.nulls(1000, pa.int32()),
    }
)


def write_parts(folder: Path, sizes: list[int], **how: Any) -> list[Path]:
    paths, start = [], 0
    for number, size in enumerate(sizes):
        paths.append(folder / f"part{number}.parquet")
        pq.write_table(TABLE.slice(start, size), paths[-1], **how)
        start += size
    return paths


def ask(query: str) -> Any:
    """The first row that duckdb answers."""
    with duckdb.connect() as connection:
        return connection.execute(query).fetchone()


def join(folder: Path, parts: list[Path]) -> Path:
    target = folder / "whole.parquet"
    with target.open("w+b") as file:
        ParquetOutput(path="x").join(parts, file, TABLE.schema)
    return target


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("sizes", [[1000], [300, 700], [0, 1, 0, 499, 0, 500], [100] * 10])
def test_every_reader_reads_the_joined_file(tmp_path: Path, sizes: list[int], compression: str) -> None:
    path = join(tmp_path, write_parts(tmp_path, sizes, row_group_size=250, compression=compression))
    assert pq.read_table(path).equals(TABLE)
    assert pl.read_parquet(path).equals(pl.from_arrow(TABLE))  # type: ignore[arg-type]
    assert ask(f"SELECT count(*), count(DISTINCT n) FROM '{path}'") == (1000, 1000)
    sums = ask(f"SELECT sum(n), count(word), sum(struct.x), sum(len(list)) FROM '{path}'")
    assert sums == (
        499500,
        sum(1 for n in range(1000) if n % 11),
        499500,
        sum(n % 4 for n in range(1000) if n % 5),
    )


def test_statistics_serve_readers_that_look_for_one_row(tmp_path: Path) -> None:
    path = join(tmp_path, write_parts(tmp_path, [500, 500], row_group_size=250))
    meta = pq.ParquetFile(path).metadata
    statistics = [meta.row_group(n).column(0).statistics for n in range(4)]
    assert [found.min for found in statistics if found] == [0, 250, 500, 750]
    assert ask(f"SELECT word FROM '{path}' WHERE n = 777") == (f"word {777 % 7}",)
    found = pl.scan_parquet(path).filter(pl.col("unique") == "000777 Zoë").select("n").collect()
    assert found.item() == 777
    assert pq.read_table(path, filters=[("n", ">=", 999)]).column("n").to_pylist() == [999]


def test_metadata_of_the_file_and_the_numbers_of_its_row_groups_are_right(tmp_path: Path) -> None:
    path = join(tmp_path, write_parts(tmp_path, [400, 600], row_group_size=200))
    file = pq.ParquetFile(path)
    assert file.schema_arrow.equals(TABLE.schema)
    assert b"ARROW:schema" in (file.metadata.metadata or {})
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (1000, 5)
    groups = read_footer(path).meta.get(4).items
    offsets = [group.get(5) for group in groups]
    assert offsets == sorted(offsets)
    assert len(set(offsets)) == 5


def test_parts_of_a_writer_that_numbers_its_row_groups_are_numbered_anew(tmp_path: Path) -> None:
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for part, first in zip(parts, (0, 500), strict=True):
        frame: Any = pl.from_arrow(TABLE.slice(first, 500))
        frame.write_parquet(part, row_group_size=250)
    path = join(tmp_path, parts)
    assert [group.get(7) for group in read_footer(path).meta.get(4).items] == [0, 1, 2, 3]
    assert pl.read_parquet(path).equals(pl.from_arrow(TABLE))  # type: ignore[arg-type]
    assert ask(f"SELECT sum(n) FROM '{path}'") == (499500,)


def test_nothing_is_encoded_twice(tmp_path: Path) -> None:
    """The pages of each part stand in the whole, byte for byte."""
    parts = write_parts(tmp_path, [600, 400])
    whole = join(tmp_path, parts).read_bytes()
    for part in parts:
        assert part.read_bytes()[4 : read_footer(part).start] in whole


def test_page_indexes_and_bloom_filters_of_foreign_writers_do_not_mislead(tmp_path: Path) -> None:
    parts = write_parts(
        tmp_path,
        [500, 500],
        write_page_index=True,
        data_page_size=512,
        bloom_filter_options={"unique": {"ndv": 500, "fpp": 0.01}},
    )
    path = join(tmp_path, parts)
    assert pq.read_table(path).equals(TABLE)
    for n in (3, 500, 999):
        query = f"SELECT n FROM '{path}' WHERE \"unique\" = '{n:06d} Zoë'"
        assert ask(query) == (n,)


def test_no_parts_make_a_valid_file_without_rows(tmp_path: Path) -> None:
    path = join(tmp_path, [])
    assert pq.read_table(path).equals(TABLE.slice(0, 0))
    assert pl.read_parquet(path).height == 0
    assert ask(f"SELECT count(*) FROM '{path}'") == (0,)


def test_many_parts_are_joined(tmp_path: Path) -> None:
    path = join(tmp_path, write_parts(tmp_path, [2] * 500))
    assert pq.read_table(path).equals(TABLE)


def test_parts_of_another_schema_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pq.write_table(pa.table({"a": [1]}), paths[0])
    pq.write_table(pa.table({"a": ["x"]}), paths[1])
    with (
        pytest.raises(OperatorError, match=r"b\.parquet has another schema"),
        (tmp_path / "c").open("w+b") as target,
    ):
        join_files(paths, target)


@pytest.mark.parametrize("cut", [0, 3, 11, 100, -1, -9])
def test_a_part_that_was_cut_is_refused(tmp_path: Path, cut: int) -> None:
    [path] = write_parts(tmp_path, [10])
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    with pytest.raises(OperatorError, match="is no complete Parquet file"):
        read_footer(path)


def test_a_footer_that_is_no_thrift_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    for footer in (b"\x1d", b"\x1c" * 5000, b"\x18\xff\xff\xff\x7f"):
        path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
        with pytest.raises(OperatorError, match="its footer cannot be read"):
            read_footer(path)


INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.tuples(st.sampled_from([4, 5, 6]), INTEGERS),
    st.tuples(st.just(8), st.binary(max_size=300)),
    st.tuples(st.just(7), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(3), st.binary(min_size=1, max_size=1)),
    st.booleans().map(lambda value: (1 if value else 2, value)),
    st.builds(lambda items: (9, Items(6, items)), st.lists(INTEGERS, max_size=20)),
    st.builds(
        lambda pairs: (11, Pairs((8, 6) if pairs else (0, 0), pairs)),
        st.lists(st.tuples(st.binary(), INTEGERS), max_size=3),
    ),
)
STRUCTS = st.recursive(
    st.builds(Struct, st.dictionaries(st.integers(1, 100), VALUES, max_size=6)),
    lambda inner: st.builds(
        Struct,
        st.dictionaries(st.integers(1, 100), inner.map(lambda value: (12, value)) | VALUES, max_size=4),
    ),
    max_leaves=8,
)


@given(STRUCTS)
def test_any_struct_comes_back_unchanged(value: Struct) -> None:
    assert read_struct(write_struct(value)) == value


def test_a_footer_comes_back_byte_for_byte(tmp_path: Path) -> None:
    [path] = write_parts(tmp_path, [1000], row_group_size=300)
    footer = read_footer(path)
    assert write_struct(footer.meta) == path.read_bytes()[footer.start : -8]


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(ThriftError, match="no type 14"):
        read_struct(b"\x1e\x00")
