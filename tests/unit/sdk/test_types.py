"""Names of column types: one vocabulary, read and written alike."""

from __future__ import annotations

import pyarrow as pa
import pytest

from orchestrator.sdk.types import canonical_batch, canonical_type, normal_type, parse_type, type_name

NAMED = [
    ("int", pa.int64()), ("int32", pa.int32()), ("uint8", pa.uint8()), ("float", pa.float64()),
    ("double", pa.float64()), ("real", pa.float32()), ("bool", pa.bool_()), ("Boolean", pa.bool_()),
    ("str", pa.string()), ("TEXT", pa.string()), ("string", pa.string()), ("bytes", pa.binary()),
    ("date", pa.date32()), ("time", pa.time64("us")), ("timestamp", pa.timestamp("us")),
    ("timestamp[us]", pa.timestamp("us")), ("timestamp[ms]", pa.timestamp("ms")),
    ("timestamp[us, UTC]", pa.timestamp("us", "UTC")), ("timestamp[us, tz=utc]", pa.timestamp("us", "UTC")),
    ("timestamp[Europe/Berlin]", pa.timestamp("us", "Europe/Berlin")),
    ("timestamptz", pa.timestamp("us", "UTC")), ("decimal(10,2)", pa.decimal128(10, 2)),
    ("numeric(9)", pa.decimal128(9, 0)), ("decimal(50, 5)", pa.decimal256(50, 5)),
    ("list<int>", pa.list_(pa.int64())),
    ("list<list<text>>", pa.list_(pa.list_(pa.string()))), ("null", pa.null()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), NAMED)
def test_a_name_means_an_arrow_type_and_is_written_back(text: str, expected: pa.DataType) -> None:
    assert parse_type(text) == expected
    assert parse_type(type_name(expected)) == expected
    assert normal_type(type_name(expected)) == type_name(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("strng", "did you mean 'string'?"),
        ("decimal(80, 2)", "1 to 76"),
        ("decimal(4, 9)", "scale at most precision"),
        ("timestamp[us, Mars/Base]", "no time zone 'Mars/Base'"),
        ("", "no type ''"),
        ("decimal", "write it like decimal(10, 2)"),
    ],
)
def test_a_wrong_name_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_type(text)
    assert says in str(caught.value)


def test_what_libraries_give_becomes_canonical() -> None:
    given = {
        pa.large_string(): pa.string(),
        pa.string_view(): pa.string(),
        pa.large_binary(): pa.binary(),
        pa.dictionary(pa.int32(), pa.large_string()): pa.string(),
        pa.decimal64(10, 2): pa.decimal128(10, 2),
        pa.date64(): pa.date32(),
        pa.large_list(pa.string_view()): pa.list_(pa.string()),
        pa.struct([pa.field("a", pa.large_string())]): pa.struct([pa.field("a", pa.string())]),
        pa.timestamp("ns", "UTC"): pa.timestamp("ns", "UTC"),
    }
    assert {source: canonical_type(source) for source in given} == given


def test_a_canonical_batch_keeps_its_rows_and_what_is_canonical_is_not_copied() -> None:
    batch = pa.record_batch(
        {
            "n": pa.array([1, None], pa.int64()),
            "s": pa.array(["é", None], pa.string_view()),
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "l": pa.array([["a"], None], pa.large_list(pa.large_string())),
        }
    )
    made = canonical_batch(batch)
    assert made.schema.names == ["n", "s", "d", "l"]
    assert made.schema.types == [pa.int64(), pa.string(), pa.string(), pa.list_(pa.string())]
    assert made.to_pylist() == batch.to_pylist()
    [_, kept], [_, given] = made.column(0).buffers(), batch.column(0).buffers()
    assert kept is not None
    assert given is not None
    assert kept.address == given.address
    assert canonical_batch(made) is made
