"""CsvOutput, and that CsvInput reads back what it wrote."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.csv import CsvInput, CsvOutput
from orchestrator.errors import OperatorError
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.testing import as_rows, encode, make_context, read_all, schema_of
from orchestrator.sdk.types import type_name

TEXT = st.text(max_size=30) | st.sampled_from(
    [
        "",
        ",",
        ";",
        '"',
        '""',
        "\n",
        "\r",
        "\r\n",
        "a\rb",
        "\ufeff",
        " ",
        "\t",
        "NULL",
        "#",
        "\0",
        "x" * 10_000,
    ]
)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "date": st.dates(),
    "timestamp": st.datetimes(),
    "timestamp[us, Europe/Berlin]": st.datetimes(
        dt.datetime.fromisoformat("1980-01-01"),
        dt.datetime.fromisoformat("2030-01-01"),
        timezones=st.just(dt.UTC),
    ),
    "decimal(20, 4)": st.decimals(-(10**15), 10**15, places=4),
    "time": st.times(),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    count = draw(st.integers(0, 6))
    cells = [draw(st.lists(st.none() | CELLS[kind], min_size=count, max_size=count)) for kind in kinds]
    return pa.table(cells, schema=schema_of({f"c{n}": kind for n, kind in enumerate(kinds)}))


@given(tables(), st.sampled_from(",;\t|"), st.sampled_from("\"'"), st.booleans())
def test_what_is_written_is_read_back(
    tmp_path: Path, table: pa.Table, delimiter: str, quote: str, has_header: bool
) -> None:
    form: dict[str, Any] = {"delimiter": delimiter, "quote": quote, "has_header": has_header}
    data = encode(CsvOutput(path="x", **form), table.to_batches(), table.schema)
    assume(not data.startswith(b"\xef\xbb\xbf"))  # at its very beginning that means UTF-8 to every reader
    (tmp_path / "f.csv").write_bytes(data)
    columns = {column.name: type_name(column.type) for column in table.schema}
    context = make_context(tmp_path)
    found = read_all(CsvInput(path="f.csv", columns=columns, **form), context)
    assert as_rows(found) == table.to_pylist()
    assert context.rejects == []


def test_the_text_is_plain_and_minimal() -> None:
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 600, tzinfo=dt.UTC)
    batch = pa.record_batch(
        {
            "n": [1, None],
            "t": ["", None],
            "q": ['a "b"', "c,d"],
            "at": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "m": [Decimal("1.50"), None],
        }
    )
    assert encode(CsvOutput(path="x"), [batch]).decode() == (
        "n,t,q,at,m\n"
        '1,"","a ""b""",2024-01-02T03:04:05.000600+00:00,1.50\n'
        ',,"c,d",,\n'
    )  # fmt: skip


def test_names_are_quoted_where_they_need_it() -> None:
    batch = pa.record_batch([[1], [2], [3]], names=["a,b", 'c"d', ""])
    assert encode(CsvOutput(path="x"), [batch]).decode() == '"a,b","c""d",""\n1,2,3\n'
    assert encode(CsvOutput(path="x", has_header=False), [batch]) == b"1,2,3\n"


@pytest.mark.parametrize("kind", ["list<int64>", "binary"])
def test_a_type_that_csv_cannot_hold_is_refused_before_the_run_and_in_it(kind: str) -> None:
    schema = schema_of({"ok": "int64", "bad": kind})
    with pytest.raises(SchemaProblem, match="column 'bad' is") as caught:
        CsvOutput(path="x").output_schemas({"in": schema})
    assert caught.value.hint
    with pytest.raises(OperatorError, match="column 'bad' is"):
        encode(CsvOutput(path="x"), [], schema)
    assert CsvOutput(path="x").output_schemas({"in": None}) == {}


@pytest.mark.parametrize("config", [{"delimiter": '"'}, {"quote": ""}, {"delimiter": "\r"}, {"quote": "ab"}])
def test_a_form_that_cannot_be_read_back_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvOutput(path="x", **config)
