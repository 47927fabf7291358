"""generate: the same rows in every run, from any position."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pydantic import ValidationError

from operators.generate import Generate, uniform
from orchestrator.sdk.input import InputChanged
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.testing import as_rows, make_context, read_all, read_with_resume

MASK = (1 << 64) - 1


def splitmix(state: int) -> float:
    """The reference algorithm, in Python's integers."""
    word = state & MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return float((word ^ (word >> 31)) >> 11) * 2.0**-53


def test_by_default_the_row_number_from_0(tmp_path: Path) -> None:
    assert as_rows(read_all(Generate(rows=3), make_context(tmp_path))) == [{"row": 0}, {"row": 1}, {"row": 2}]


def test_random_values_follow_the_reference_algorithm() -> None:
    import hashlib

    start = int.from_bytes(hashlib.blake2b(b"7:x", digest_size=8).digest(), "little")
    expected = [splitmix(start + row * 0x9E3779B97F4A7C15) for row in range(50)]
    assert uniform(pl.int_range(0, 50, eager=True), 7, "x").to_list() == expected


def test_random_values_are_spread_and_differ_by_column_seed_and_row(tmp_path: Path) -> None:
    columns = {"a": "random", "b": "random", "die": "cast(floor(random * 6) as bigint) + 1"}
    rows = as_rows(read_all(Generate(rows=6000, columns=columns), make_context(tmp_path)))
    assert all(0 <= row["a"] < 1 for row in rows)
    assert abs(sum(row["a"] for row in rows) / 6000 - 0.5) < 0.02
    counts = [sum(row["die"] == face for row in rows) for face in range(1, 7)]
    assert min(counts) > 850
    assert sum(row["a"] == row["b"] for row in rows) == 0
    other = as_rows(read_all(Generate(rows=6000, columns=columns, seed=1), make_context(tmp_path)))
    assert other != rows


def test_any_position_gives_exactly_the_rest(tmp_path: Path) -> None:
    source = Generate(rows=25, columns={"n": "row * 2", "r": "random"})
    whole = as_rows(read_all(source, make_context(tmp_path)))
    assert as_rows(read_with_resume(source, make_context(tmp_path, batch_rows=4))) == whole


def test_batches_are_bounded_by_bytes(tmp_path: Path) -> None:
    source = Generate(rows=1000, columns={"text": "lpad('', 1000, 'x')"})
    context = make_context(tmp_path, batch_bytes=50_000)
    assert [batch.num_rows for batch in read_all(source, context)][:-1] == [49] * 20
    assert sum(batch.num_rows for batch in read_all(source, context)) == 1000


def test_a_changed_configuration_is_noticed(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    [split] = Generate(rows=10).plan(context)
    with pytest.raises(InputChanged):
        Generate(rows=11).open(context, split, 5)


def test_the_schema_is_known_before_the_run() -> None:
    found = Generate(rows=1, columns={"n": "row + 1", "s": "'x'"}).output_schemas({})["out"]
    assert found is not None
    assert dict(zip(found.names, found.types, strict=True)) == {"n": pa.int64(), "s": pa.string()}


def test_what_is_wrong_is_named_by_column() -> None:
    with pytest.raises(SchemaProblem, match="no column 'rwo'") as caught:
        Generate(rows=1, columns={"n": "rwo"}).output_schemas({})
    assert caught.value.field == "columns.n"
    for wrong in ({"rows": -1}, {"rows": 1, "columns": {"n": "now()"}}, {"rows": 1, "columns": {}}, {}):
        with pytest.raises(ValidationError):
            Generate(**wrong)
