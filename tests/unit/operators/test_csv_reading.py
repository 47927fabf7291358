"""CsvInput: names and types, pieces whose ends are positions, and clear errors for what is no CSV file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators import csv_reading
from operators.csv import CsvInput
from orchestrator.errors import OperatorError
from orchestrator.sdk.input import InputChanged
from orchestrator.sdk.testing import (
    RecordingContext,
    as_rows,
    make_context,
    read_all,
    read_with_resume,
    schema_of,
)
from orchestrator.sdk.types import type_name


def read(folder: Path, data: str | bytes, **config: Any) -> tuple[list[dict[str, Any]], RecordingContext]:
    (folder / "f.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    context = make_context(folder)
    return as_rows(read_all(CsvInput(path="f.csv", **config), context)), context


def types(folder: Path, data: str, **config: Any) -> dict[str, str]:
    (folder / "f.csv").write_text(data, encoding="utf-8", newline="")
    schema = CsvInput(path="f.csv", **config).discover(make_context(folder))
    assert schema is not None
    return {column.name: type_name(column.type) for column in schema}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reading, "PIECE_BYTES", 512)
    monkeypatch.setattr(csv_reading, "EXACT_BYTES", 16)
    monkeypatch.setattr(csv_reading, "LONGEST_RECORD", 4096)


# Names and types


def test_types_are_inferred_without_losing_anything(tmp_path: Path) -> None:
    text = (
        "id,zip,phone,big,ratio,flag,day,moment,utc,mixed,none,long\n"
        "1,00123,+49,12345678901234567890,1,true,2024-01-02,2024-01-02 03:04,2024-01-02T03:04:05Z,1,,1.5\n"
        "-7,99999,1,1,-2.5e3,False,2024-02-29,2024-01-02T03:04:05.123456,2024-01-02T03:04:05+01:00,a,,"
        "12345678901234567\n"
    )
    assert types(tmp_path, text) == {
        "id": "int64", "zip": "string", "phone": "string", "big": "string", "ratio": "float64",
        "flag": "bool", "day": "date", "moment": "timestamp", "utc": "timestamp[us, UTC]",
        "mixed": "string", "none": "string", "long": "string",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0", "-0", "10"], "int64"),
        (["01"], "string"),
        ([" 1"], "string"),
        (["1", "", "2"], "int64"),
        (["1", "2.5"], "float64"),
        (["2.5", "1"], "float64"),
        (["NaN", "inf"], "string"),
        (["NaN", "1.5", "-inf"], "float64"),
        (["1.", ".5", "1e5"], "float64"),
        (["007.5"], "string"),
        (["."], "string"),
        (["true", "yes"], "string"),
        (["2024-02-30"], "string"),
        (["2024-01-02", "2024-01-02T03:04:05"], "string"),
        (["2024-01-02T03:04:05", "2024-01-02T03:04:05Z"], "string"),
        (["9223372036854775808"], "string"),
        (["9223372036854775807"], "int64"),
    ],
)
def test_a_column_has_the_narrowest_type_that_holds_every_value(
    tmp_path: Path, values: list[str], kind: str
) -> None:
    assert types(tmp_path, "a,b\n" + "".join(f"{value},x\n" for value in values)) == {
        "a": kind,
        "b": "string",
    }
    rows, context = read(tmp_path, "a,b\n" + "".join(f"{value},x\n" for value in values))
    assert (len(rows), context.rejects) == (len(values), [])


def test_what_does_not_fit_behind_the_sample_is_a_reject(tmp_path: Path) -> None:
    text = "n\n" + "1\n" * 10 + "1.5\n2\n"
    rows, context = read(tmp_path, text, infer_rows=10)
    assert len(rows) == 11
    [reject] = context.rejects
    assert (reject.position, reject.source, reject.record) == ({"line": 12}, "f.csv", '{"n": "1.5"}')
    assert len(read(tmp_path, text, infer_rows=11)[0]) == 12


def test_blank_and_doubled_names_become_unique(tmp_path: Path) -> None:
    assert list(types(tmp_path, "a,,a,a_2,a,\n1,2,3,4,5,6\n")) == [
        "a", "column_2", "a_3", "a_2", "a_4", "column_6",
    ]  # fmt: skip


def test_without_a_header_columns_are_numbered(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "1,x\n2,y\n", has_header=False)
    assert rows == [{"column_1": 1, "column_2": "x"}, {"column_1": 2, "column_2": "y"}]


def test_given_types_stand_and_the_others_are_inferred(tmp_path: Path) -> None:
    assert types(tmp_path, "a,b,c\n1,2,3\n", columns={"c": "float64", "a": "text"}) == {
        "a": "string", "b": "int64", "c": "float64",
    }  # fmt: skip


def test_a_given_column_that_is_not_there_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no column 'agee'[^$]*did you mean 'age'"):
        types(tmp_path, "name,age\nx,1\n", columns={"agee": "int64"})


def test_without_a_header_every_column_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="3 columns in its first line, `columns` names 1"):
        read(tmp_path, "1,2,3\n", has_header=False, columns={"a": "int64"})


def test_the_schema_of_named_columns_is_known_without_the_file() -> None:
    source = CsvInput(path="absent.csv", has_header=False, columns={"a": "int", "b": "date"})
    assert source.output_schemas({})["out"] == schema_of({"a": "int64", "b": "date"})
    assert CsvInput(path="absent.csv", columns={"a": "int"}).output_schemas({}) == {"out": None}


def test_of_a_file_that_is_not_there_yet_nothing_is_known(tmp_path: Path) -> None:
    assert CsvInput(path="absent.csv").discover(make_context(tmp_path)) is None


# Shapes of files


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        "\ufeffa,b\n1,x\n2,y",
        "\ufeff\n\na,b\n\n1,x\n\n2,y\n\n",
        '"a","b"\n"1","x"\n"2","y"\n',
    ],
)
def test_line_ends_marks_and_blank_lines_make_no_difference(tmp_path: Path, text: str) -> None:
    rows, context = read(tmp_path, text)
    assert rows == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert context.rejects == []


def test_a_header_alone_is_no_rows_of_unknown_types(tmp_path: Path) -> None:
    for text in ("a,b\n", "a,b", "a,b\r\n\r\n"):
        assert read(tmp_path, text)[0] == []
        assert types(tmp_path, text) == {"a": "null", "b": "null"}


def test_an_empty_file_needs_columns(tmp_path: Path) -> None:
    for data in (b"", b"\n", b"\xef\xbb\xbf", b"\r\n\n"):
        with pytest.raises(OperatorError, match="is empty: it has no columns"):
            read(tmp_path, data)
        assert read(tmp_path, data, columns={"a": "int64"})[0] == []


def test_a_header_may_hold_line_ends(tmp_path: Path) -> None:
    rows, context = read(tmp_path, '"a\nb",c\n1,2\nx\n', columns={"c": "int64"})
    assert rows == [{"a\nb": 1, "c": 2}]
    assert context.rejects[0].position == {"line": 4}


def test_nul_bytes_in_values_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,b\nx\0y,1\n")[0] == [{"a": "x\0y", "b": 1}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PAR1\x15\x04", "it is a Parquet file"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip"),
        (b"PK\x03\x04abc", "zip archive"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"\x00\x01\x02,\x03\n", "NUL bytes"),
        (b"na\xefve,b\n", "not UTF-8"),
        (b"a,b\r1,2\r", "CR alone"),
        (b'a,"b\n1,2\n', "line 1: a quote is opened and never closed"),
    ],
)
def test_what_is_no_csv_file_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(OperatorError, match=message) as caught:
        read(tmp_path, data)
    assert str(tmp_path / "f.csv") in caught.value.message
    assert caught.value.hint
    assert not caught.value.retry


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        ("none.csv", "there is no file"),
        (".", "is a folder"),
        ("pipe", "is a pipe"),
        ("pipe/x", "a part of its path is a file"),
    ):
        with pytest.raises(OperatorError, match=message) as caught:
            CsvInput(path=path).plan(context)
        assert not caught.value.retry


def test_no_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("a\n1\n")
    (tmp_path / "f.csv").chmod(0)
    context = make_context(tmp_path)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(OperatorError, match="no permission to read") as caught:
            CsvInput(path="f.csv").plan(context)
    finally:
        os.seteuid(user)
    assert not caught.value.retry


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a\n1\n")
    context, source = make_context(tmp_path, batch_rows=1), CsvInput(path="f.csv")
    [split] = source.plan(context)
    reader = source.open(context, split, None)
    path.write_text("a\n1\n2\n")
    assert as_rows([reader.read()]) == [{"a": 1}]  # type: ignore[list-item]
    with pytest.raises(InputChanged, match="had 4 bytes and has 6"):
        reader.read()
    reader.close()
    with pytest.raises(InputChanged, match="had 4 bytes and has 6"):
        source.open(context, split, None)
    path.write_text("a\n2\n")
    with pytest.raises(InputChanged, match="was written at"):
        source.open(context, split, None)
    path.unlink()
    with pytest.raises(OperatorError, match="there is no file"):
        source.open(context, split, None)


@pytest.mark.parametrize(
    "config",
    [
        {"delimiter": ",,"},
        {"delimiter": "é"},
        {"delimiter": "\n"},
        {"quote": ","},
        {"encoding": "latin-1"},
        {"columns": {"a": "strnig"}},
        {"columns": {"a": "list<int64>"}},
        {"null_values": ["a,b"]},
        {"infer_rows": 0},
        {"path": ""},
        {"unknown": 1},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvInput(**({"path": "x.csv"} | config))


# Pieces and positions


@pytest.mark.usefixtures("small_pieces")
@settings(max_examples=25)  # each reads from every position
@given(
    st.lists(
        st.sampled_from(
            [
                "1,x\n",
                '2,"a\nb"\n',
                '3,"' + "q" * 30 + '"\r\n',
                "bad,x\n",
                "4\n",
                "\n",
                '5,5" x\n',
                '6,"y"z\n',
            ]
        ),
        max_size=40,
    )
)
def test_where_pieces_end_changes_no_row_and_no_reject(tmp_path: Path, lines: list[str]) -> None:
    """Read as one piece and as many, with a fresh reader from every position."""
    (tmp_path / "f.csv").write_text("".join(["n,s\n", *lines]), newline="")
    source = CsvInput(path="f.csv", columns={"n": "int64", "s": "string"})
    pieces = make_context(tmp_path, batch_rows=3)
    found = as_rows(read_with_resume(source, pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reading, "PIECE_BYTES", 6 << 20)
        patch.setattr(csv_reading, "LONGEST_RECORD", 64 << 20)
        patch.setattr(csv_reading, "EXACT_BYTES", 64 << 10)
        whole = make_context(tmp_path)
        assert as_rows(read_all(source, whole)) == found
    assert whole.rejects == pieces.rejects
    blank = lines.count("\n")
    assert len(found) + len(pieces.rejects) == len(lines) - blank


@pytest.mark.usefixtures("small_pieces")
def test_a_value_longer_than_a_piece_is_read(tmp_path: Path) -> None:
    long = 'line "one"\n' * 200
    text = 'a,b\n1,"' + long.replace('"', '""') + '"\n2,y\n'
    assert read(tmp_path, text)[0] == [{"a": 1, "b": long}, {"a": 2, "b": "y"}]


@pytest.mark.usefixtures("small_pieces")
def test_a_quote_that_never_closes_names_the_line_where_it_was_opened(tmp_path: Path) -> None:
    text = "a,b\n" + "1,x\n" * 300 + '2,"open\n' + "3,y\n" * 2000
    with pytest.raises(OperatorError, match=r"f\.csv, line 302: the record that begins here has no end"):
        read(tmp_path, text)


@pytest.mark.usefixtures("small_pieces")
def test_batches_keep_within_rows_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("s\n" + ("x" * 100 + "\n") * 40)
    source = CsvInput(path="f.csv")
    batches = read_all(source, make_context(tmp_path, batch_rows=1000, batch_bytes=300))
    assert sum(batch.num_rows for batch in batches) == 40
    assert max(batch.nbytes for batch in batches) <= 300
