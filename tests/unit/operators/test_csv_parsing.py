"""What the quick way takes, the exact way takes alike; what neither takes is a reject with its line."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.csv_parsing import Parser
from operators.csv_records import Dialect, records
from orchestrator.sdk.testing import schema_of

SCHEMAS = [
    {"a": "string", "b": "string", "c": "string"},
    {"a": "string"},
    {"a": "int64", "b": "string"},
    {"a": "bool", "b": "decimal(9, 2)"},
    {"a": "string", "b": "date", "c": "float64"},
    {"a": "timestamp", "b": "uint8", "c": "string"},
]
TOKENS = [
    ",", ",", ",", '"', "\n", "\n", "\r\n", "\r", '""', "a", "1", " ", "é", '"x, y"', '"a\nb"', '"q""q"',
    '5"', '"x"y"', '"a,"b",c"', "2024-01-02", "2024-01-02 03:04:05", "true",
    "1.5", "\0", "\ufeff", '"\n""\n"',
]  # fmt: skip


def rows_of(text: str | bytes, columns: dict[str, str], **dialect: object) -> list[dict[str, object]]:
    data = text.encode() if isinstance(text, str) else text
    piece = Parser(schema_of(columns), Dialect(**dialect)).parse(data)  # type: ignore[arg-type]
    assert piece is not None
    return piece.rows.to_pylist()


def rejects_of(text: str | bytes, columns: dict[str, str]) -> list[tuple[int, str]]:
    data = text.encode() if isinstance(text, str) else text
    parser = Parser(schema_of(columns), Dialect(), "f.csv")
    assert parser.parse(data) is None
    piece = parser.parse_exactly(data, 1, final=True)
    assert piece.size == len(data)
    return [(reject.position["line"], reject.code) for reject in piece.rejects]


@given(st.sampled_from(SCHEMAS), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=16).map("".join))
@example(SCHEMAS[0], '"\n""\n",,\nx,"x"y"",x\r\n')
@example(SCHEMAS[0], '5",5" x,"x"y""\n')
@example(SCHEMAS[1], '\r\n"\r",')
@example(SCHEMAS[0], '5" x,\r,\r\r\n')
@example(SCHEMAS[2], ' ,","\n')
def test_the_quick_way_never_differs_from_the_exact_one(columns: dict[str, str], text: str) -> None:
    data = text.encode()
    parser = Parser(schema_of(columns), Dialect())
    quick, exact = parser.parse(data), parser.parse_exactly(data, 1, final=True)
    assert exact.size == len(data)
    if quick is not None:
        assert quick.rows.equals(exact.rows)
        assert exact.rejects == []
        assert quick.size == exact.size
        assert quick.lines == exact.lines or not text.endswith("\n")


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=16).map("".join))
def test_every_line_is_a_row_a_reject_or_blank(text: str) -> None:
    data = text.encode()
    piece = Parser(schema_of({"a": "int64", "b": "string"}), Dialect()).parse_exactly(data, 1, final=True)
    found = list(records(data if data.endswith(b"\n") else data + b"\n", Dialect(), final=True))
    assert piece.rows.num_rows + len(piece.rejects) == sum(not record.blank for record in found)
    assert [record.end for record in found[:-1]] == [record.start for record in found[1:]]


@given(
    st.lists(
        st.tuples(st.none() | st.text(max_size=20), st.none() | st.text(max_size=20)), min_size=1, max_size=8
    )
)
def test_python_s_own_reader_agrees_on_what_python_s_own_writer_wrote(
    rows: list[tuple[str | None, str | None]],
) -> None:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([[cell or "" for cell in row] for row in rows])
    try:
        data = text.getvalue().encode()
    except UnicodeEncodeError:
        return
    found = Parser(schema_of({"a": "string", "b": "string"}), Dialect()).parse(data)
    assert found is not None
    assert [tuple(row.values()) for row in found.rows.to_pylist()] == [(a or "", b or "") for a, b in rows]


def test_types_are_exact() -> None:
    columns = {
        "i": "int64", "f": "float64", "b": "bool", "d": "date", "t": "timestamp", "z": "timestamp[us, UTC]",
        "m": "decimal(10, 2)", "c": "time", "s": "string",
    }  # fmt: skip
    text = (
        "-1,1e3,true,2024-02-29,2024-01-02 03:04:05.5,2024-01-02T03:04:05+02:00,12.3,01:02:03,007\n" + "," * 8
    )
    first, empty = rows_of(text + "\n", columns)
    assert first == {
        "i": -1,
        "f": 1000.0,
        "b": True,
        "d": dt.date(2024, 2, 29),
        "t": dt.datetime.fromisoformat("2024-01-02T03:04:05.5"),
        "z": dt.datetime(2024, 1, 2, 1, 4, 5, tzinfo=dt.UTC),
        "m": Decimal("12.30"),
        "c": dt.time(1, 2, 3),
        "s": "007",
    }
    assert set(empty.values()) == {None}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", "1.5"),
        ("int64", "x"),
        ("int64", "9223372036854775808"),
        ("uint8", "-1"),
        ("float64", "1,5"),
        ("bool", "1"),
        ("date", "02/01/2024"),
        ("date", "2024-02-30"),
        ("date", "2024-1-2"),
        ("timestamp", "2024-01-02T03:04:05Z"),
        ("timestamp[us, UTC]", "2024-01-02T03:04:05"),
        ("decimal(5, 2)", "1.234"),
        ("decimal(5, 2)", "1234.5"),
        ("time", "25:00:00"),
    ],
)
def test_a_misfit_is_a_reject_that_names_column_value_and_type(kind: str, value: str) -> None:
    parser = Parser(schema_of({"n": "string", "v": kind}), Dialect(), "f.csv")
    data = f'ok,\nbad,"{value}"\nok,\n'.encode()
    assert parser.parse(data) is None
    piece = parser.parse_exactly(data, 11, final=True)
    assert piece.rows.column("n").to_pylist() == ["ok", "ok"]
    [reject] = piece.rejects
    assert (reject.code, reject.source, reject.position) == ("wrong_type", "f.csv", {"line": 12})
    assert reject.reason == f"column 'v': {value!r} is not {kind}"
    assert reject.record == f'{{"n": "bad", "v": "{value}"}}'


def test_rejects_have_the_line_on_which_the_record_begins() -> None:
    text = (
        'a,"one\ntwo"\n'  # 1-2
        "b\n"  # 3
        "\n"  # 4, blank
        "c,d,e\n"  # 5
        'f,"g"h\n'  # 6
        'i,"j\r\nk"\r\n'  # 7-8
        'l,"m\n'  # 9, never closed
        "n,o\n"  # 10
    )
    columns = {"x": "string", "y": "string"}
    assert rejects_of(text, columns) == [
        (3, "short_row"), (5, "extra_field"), (6, "stray_quote"), (9, "stray_quote"),
    ]  # fmt: skip
    piece = Parser(schema_of(columns), Dialect()).parse_exactly(text.encode(), 1, final=True)
    assert piece.rows.column("x").to_pylist() == ["a", "i", "n"]
    assert piece.rejects[1].record == '{"x": "c", "y": "d", "column_3": "e"}'
    assert piece.rejects[2].record == '{"text": "f,\\"g\\"h"}'


def test_bytes_that_are_not_utf8_are_a_reject_not_a_crash() -> None:
    assert rejects_of(b"a,b\nx,\xff\n", {"x": "string", "y": "string"}) == [(2, "not_utf8")]


def test_blank_lines_are_passed_over_but_null_in_a_file_of_one_column() -> None:
    data = b"\n1,2\n\r\n3,4\n\n"
    piece = Parser(schema_of({"a": "int64", "b": "int64"}), Dialect()).parse_exactly(data, 1, final=True)
    assert (piece.rows.num_rows, piece.rejects) == (2, [])
    assert rows_of("\n1\n\n", {"a": "int64"}) == [{"a": None}, {"a": 1}, {"a": None}]


def test_empty_is_null_and_quoted_empty_an_empty_text() -> None:
    assert rows_of(',""\n"",\n', {"a": "string", "b": "string"}) == [
        {"a": None, "b": ""},
        {"a": "", "b": None},
    ]
    assert rows_of('"",""\n', {"a": "int64", "b": "date"}) == [{"a": None, "b": None}]


def test_null_values_mean_null_in_every_type() -> None:
    found = rows_of(
        'NA,NA,NA\n1,2024-01-01,"NA"\n', {"a": "int64", "b": "date", "c": "string"}, null_values=("NA",)
    )
    assert found == [
        {"a": None, "b": None, "c": None},
        {"a": 1, "b": dt.date(2024, 1, 1), "c": None},
    ]


def test_without_a_quote_character_quotes_are_text() -> None:
    assert rows_of('"a\nb"c\n', {"x": "string"}, quote=b"") == [{"x": '"a'}, {"x": 'b"c'}]
    parser = Parser(schema_of({"x": "int64", "y": "string"}), Dialect(quote=b""))
    piece = parser.parse_exactly(b'x,"\n1,"\n', 1, final=True)
    assert piece.rows.to_pylist() == [{"x": 1, "y": '"'}]
    assert [reject.position for reject in piece.rejects] == [{"line": 1}]


def test_an_incomplete_last_record_waits_for_more() -> None:
    parser = Parser(schema_of({"x": "string", "y": "string"}), Dialect())
    for data in (b'a,b\nc,"d', b'a,b\nc,"d"', b'a,b\nc,"d"\r', b"a,b\nc", b'a,b\nc,"d""'):
        piece = parser.parse_exactly(data, 1, final=False)
        assert (piece.size, piece.lines, piece.rows.num_rows, piece.rejects) == (4, 1, 1, [])
    assert parser.parse_exactly(b'"never', 1, final=False).size == 0


def test_a_byte_order_mark_inside_the_file_is_data() -> None:
    assert rows_of("\ufeffa,b\n", {"x": "string", "y": "string"}) == [{"x": "\ufeffa", "y": "b"}]


@pytest.mark.parametrize("delimiter", ["|", "\t", ";", " ", ".", "^", "\\", "-"])
def test_any_delimiter_is_taken_literally(delimiter: str) -> None:
    text = delimiter.join(["a", f'"b{delimiter}"', "]"]) + "\n"
    columns = {"x": "string", "y": "string", "z": "string"}
    assert rows_of(text, columns, delimiter=delimiter.encode()) == [
        {"x": "a", "y": f"b{delimiter}", "z": "]"}
    ]
    parser = Parser(schema_of(columns), Dialect(delimiter.encode()))
    assert parser.parse_exactly(text.encode(), 1, final=True).rows == pa.record_batch(
        [["a"], [f"b{delimiter}"], ["]"]], schema=schema_of(columns)
    )


def test_plain_quotes_alone_do_not_slow_a_file_down() -> None:
    """Neither an odd number of them nor one on each of two lines."""
    columns = {"n": "int64", "size": "string"}
    assert rows_of('1,5" pipe\n2,x\n', columns) == [{"n": 1, "size": '5" pipe'}, {"n": 2, "size": "x"}]
    assert rows_of('1,5"\n2,6"\n', columns) == [{"n": 1, "size": '5"'}, {"n": 2, "size": '6"'}]


def test_plain_quotes_among_quoted_fields_are_still_plain() -> None:
    parser = Parser(schema_of({"n": "int64", "size": "string"}), Dialect())
    piece = parser.parse_exactly(b'1,5" pipe\n2,"x\ny"\n3,6"\r\n', 1, final=True)
    assert piece.rows.column("size").to_pylist() == ['5" pipe', "x\ny", '6"']
    assert piece.rejects == []
