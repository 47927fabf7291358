"""Expressions mean what the `sql` operator's engine means: every listed call, on tricky values."""

from __future__ import annotations

import random
import re
import struct
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from operators.rejects import failing
from operators.transforms.expressions import Expressions, check_text
from operators.transforms.vocabulary import FUNCTIONS, PARTS, TYPES
from orchestrator.errors import OperatorError
from orchestrator.sdk.operator import SchemaProblem

PAGE = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text(encoding="utf-8")
NAN, INF = float("nan"), float("inf")
WHOLE = [1, -1, 0, None, 7, -7, 3, 2**40, 100, -3]
FLOATS = [0.5, 1.5, -0.5, None, 2.5, -2.25, 1e10, 0.1, NAN, -INF]
TEXTS = ["", "Straße", " a b ", None, "e\u0301ab", "o'k%_", "日本語", "abcabc", "a\tb\n", "\u00a0👩\u200d👧b"]
DATES = [
    date(2024, 2, 29), date(1969, 12, 31), None, date(2000, 1, 1), date(1900, 3, 1), date(2023, 12, 31),
    date(2021, 1, 3), date(2020, 12, 28), date(1, 1, 1), date(9999, 12, 31),
]  # fmt: skip
MOMENTS = [
    None if text is None else datetime.fromisoformat(text)
    for text in (
        "2024-02-29T23:59:59.999999", "1969-12-31T23:00:01", None, "2000-01-01T00:00:00",
        "1900-03-01T12:30:00", "2023-12-31T01:02:03.000004", "2021-01-03T00:00:00", "2020-12-28T06:00:00",
        "0001-01-01T00:00:00",
        "9999-12-31T13:00:00",
    )
]  # fmt: skip
CENTS = ["1.25", "-1.25", "0.00", None, "2.50", "99.99", "-0.05", "3.00", "0.15", "-2.50"]
TABLE = pa.table(
    {
        "n": pa.array(WHOLE, pa.int64()),
        "m": pa.array([2, 3, 5, 5, None, -2, -3, 10, 7, -1], pa.int64()),
        "x": pa.array(FLOATS),
        "y": pa.array([0.0, 2.0, -2.5, 1.0, None, 0.3, 7.0, 0.2, 1.0, NAN]),
        "price": pa.array([None if text is None else Decimal(text) for text in CENTS], pa.decimal128(10, 2)),
        "s": pa.array(TEXTS),
        "t": pa.array(["a", "", "b", "a", None, "k", "本", "bc", "ČÉ", "ž Я Σ"]),
        "digits": pa.array(["12", "-3", "0", None, "7", "100", "5", "8", "+5", "007"]),
        "p": pa.array([True, False, None, True, False, None, True, False, None, True]),
        "q": pa.array([True, True, True, None, False, False, None, False, None, False]),
        "d": pa.array(DATES, pa.date32()),
        "e": pa.array([*DATES[1:], DATES[0]], pa.date32()),
        "moment": pa.array(MOMENTS, pa.timestamp("us")),
    }
)
[BATCH] = TABLE.combine_chunks().to_batches()


def examples() -> list[str]:
    """The last cell of every row of the page's tables."""
    rows = [re.split(r"(?<!\\)\|", line) for line in PAGE.splitlines() if line.startswith("|")]
    cells = [row[3].strip() for row in rows]
    return [cell[1:-1].replace("\\|", "|") for cell in cells if cell.startswith("`")]


def ours(text: str, batch: pa.RecordBatch = BATCH) -> list[Any]:
    return Expressions({"it": text}, batch.schema).evaluate(batch)["it"].to_pylist()


def theirs(text: str, batch: pa.RecordBatch = BATCH) -> list[Any]:
    with duckdb.connect() as connection:
        connection.register("batch", pa.Table.from_batches([batch]))
        rows = connection.sql(f"select ({text}) from batch").fetchall()
    return [value for (value,) in rows]


def same(left: Any, right: Any) -> bool:
    """Equal values of one kind; floats of functions to 15 digits, NaN equal to itself."""
    if isinstance(left, float) or isinstance(right, float):
        if left is None or right is None:
            return left is right
        if left != left or right != right:
            return bool(left != left and right != right)
        return bool(left == right or abs(left - right) <= 1e-15 * 8 * abs(right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


@pytest.mark.parametrize("text", examples())
def test_both_engines_give_equal_results(text: str) -> None:
    found, expected = ours(text), theirs(text)
    differ = [row for row, pair in enumerate(zip(found, expected, strict=True)) if not same(*pair)]
    assert not differ, [(found[row], expected[row]) for row in differ]


def test_the_page_lists_exactly_what_is_allowed() -> None:
    cells = [re.split(r"(?<!\\)\|", line)[1] for line in PAGE.splitlines() if line.startswith("|")]
    named = {name for cell in cells for name in re.findall(r"`([a-z_0-9]+)\(", cell)}
    assert named | {"substring"} == set(FUNCTIONS)
    called = {name for text in examples() for name in re.findall(r"([a-z_0-9]+)\(", text)}
    assert set(FUNCTIONS) - called == {"substr"} - called
    [types] = re.findall(r"types: (.*?) \|", PAGE)
    assert set(re.findall(r"[a-z]{3,}", types)) | {"numeric"} == set(TYPES)
    [parts] = re.findall(r"\| (year, isoyear.*?) \|", PAGE)
    assert set(parts.split(", ")) == set(PARTS)


@pytest.mark.parametrize("digits", range(7))
def test_rounding_floats_is_exact(digits: int) -> None:
    """Values on and beside halves: 2.675 is below one, 0.125 is one."""
    chance = random.Random(digits)
    values = [round(chance.uniform(-1000, 1000), digits + 1) for _ in range(3000)]
    values += [(whole + 0.5) / 10**digits for whole in range(-1500, 1500)]
    values += [chance.uniform(-1e8, 1e8) for _ in range(2000)] + [
        2.675,
        1.005,
        -0.5,
        0.49999999999999994,
        0.0,
    ]
    batch = pa.record_batch({"x": pa.array(values)})
    assert ours(f"round(x, {digits})", batch) == theirs(f"round(x, {digits})", batch)


def test_dividing_by_a_constant_is_exact() -> None:
    """A multiplication by 0.1 would give 0.30000000000000004 for 3 / 10."""
    batch = pa.record_batch({"x": pa.array([float(value) for value in range(1000)])})
    assert ours("x / 10", batch) == [value / 10 for value in range(1000)]


def test_floats_that_become_whole_numbers_round_halves_to_even() -> None:
    chance = random.Random(1)
    values = [number / 2 for number in range(-20, 20)] + [chance.uniform(-1e15, 1e15) for _ in range(500)]
    batch = pa.record_batch({"x": pa.array(values)})
    assert ours("cast(x as bigint)", batch) == theirs("cast(x as bigint)", batch)


def test_cases_agree_but_for_characters_that_become_several() -> None:
    """The exception that the page names, over all of Unicode that Python's tables know."""
    characters = [
        chr(code) for code in range(1, 0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")
    ]
    batch = pa.record_batch({"s": pa.array(characters)})
    for call, full in (("lower(s)", str.lower), ("upper(s)", str.upper)):
        pairs = zip(characters, ours(call, batch), theirs(call, batch), strict=True)
        differ = {c for c, left, right in pairs if left != right}
        assert {c for c in differ if len(full(c)) == 1 and full(c) != c} == set()
        assert len([c for c in differ if full(c) == c]) < 12, "newer than Python's tables"


def test_trim_takes_the_same_characters() -> None:
    characters = [chr(code) for code in range(1, 0x110000) if unicodedata.category(chr(code)) != "Cs"]
    batch = pa.record_batch({"s": pa.array([f"{c}x{c}" for c in characters])})
    assert ours("trim(s)", batch) == theirs("trim(s)", batch)


def test_random_floats_compare_and_divide_alike() -> None:
    chance = random.Random(3)
    values = [struct.unpack("d", struct.pack("Q", chance.getrandbits(64)))[0] for _ in range(2000)]
    batch = pa.record_batch({"x": pa.array(values), "y": pa.array(values[::-1])})
    for text in ("x > y", "x = y", "x / y", "x % y", "x + y", "x * y", "greatest(x, y)", "least(x, y)"):
        assert all(map(same, ours(text, batch), theirs(text, batch))), text


@pytest.mark.parametrize("text", ["n + 1", "n - -1", "n * 2", "-(-n - 1)", "abs(-n - 1)"])
def test_a_result_beyond_64_bits_is_an_error_and_never_wraps(text: str) -> None:
    batch = pa.record_batch({"n": pa.array([1, 2**63 - 1])})
    with pytest.raises(OperatorError) as caught:
        ours(text, batch)
    assert "64 bits" in str(caught.value)
    with pytest.raises(duckdb.OutOfRangeException):
        theirs(text, batch)


def test_narrow_whole_numbers_do_not_wrap_either() -> None:
    batch = pa.record_batch({"n": pa.array([127, -128], pa.int8())})
    assert ours("n + 1", batch) == [128, -127]
    assert ours("-n", batch) == [-127, 128]


def test_a_remainder_by_whole_zero_is_null() -> None:
    assert ours("n % 0") == [None] * 10


def test_constants_and_conditions_that_fold_to_one_are_as_long_as_the_batch() -> None:
    assert ours("1 + 1") == [2] * 10
    assert ours("'a'") == ["a"] * 10
    assert ours("true or p") == [True] * 10
    empty = BATCH.slice(0, 0)
    assert ours("1 + 1", empty) == []
    assert ours("n + 1", empty) == []


def test_results_have_canonical_types() -> None:
    texts = {"a": "upper(s)", "b": "length(s)", "c": "year(d)", "d": "n + 1", "e": "n > 0", "f": "price * 2"}
    found = Expressions(texts, BATCH.schema)
    arrays = found.evaluate(BATCH)
    expected = [pa.string(), pa.int64(), pa.int64(), pa.int64(), pa.bool_(), pa.decimal128(38, 2)]
    assert [array.type for array in arrays.values()] == expected
    assert list(found.types.values()) == expected


def test_only_the_columns_used_are_read() -> None:
    assert Expressions({"it": "n > 0 and s is null"}, BATCH.schema).columns == ["n", "s"]


WRONG = [
    ("nn > 1", "no column 'nn'", ""),
    ("prices > 1", "no column 'prices'", "did you mean 'price'?"),
    ("s > 18", "column 's' (string) is compared with 18", "write s > '18', or cast(s as bigint) > 18"),
    ("18 < s", "column 's' (string)", "cast(s as bigint)"),
    ("n = '1'", "column 'n' (int64) is compared with '1'", "cast"),
    ("d > '2024-01-01'", "column 'd' (date) is compared with '2024-01-01'", "write date '2024-01-01'"),
    ("n in ('1', '2')", "looked up in a list of text", "as number"),
    ("n and p", "and joins conditions, and column 'n' (int64) is number", "count > 0"),
    ("n + s", "+ takes numbers, and column 's' (string) is text", ""),
    ("d + 1", "+ takes numbers, and column 'd' (date) is date", ""),
    ("d - e", "- takes numbers", ""),
    ("p + p", "+ takes numbers", ""),
    ("s * 2", "* takes numbers", ""),
    ("s / 2", "/ and % take numbers", ""),
    ("coalesce(n, s)", "coalesce give number and text", "cast one of them"),
    ("case when p then 1 else 'a' end", "number and text", "cast one of them"),
    ("cast(x as varchar)", "cannot cast column 'x' (float64)", "decimal"),
    ("cast(moment as varchar)", "cannot cast column 'moment' (timestamp)", "strftime"),
    ("try_cast(s as bigint)", "cannot cast column 's' (string)", "`types` of the mapping operator"),
    ("cast(s as boolean)", "cannot cast", "`types`"),
    ("concat(s, x)", "column 'x' (float64) is neither", "`sql`"),
    ("year(n)", "column 'n' (int64) is number", ""),
    ("upper(n)", "does not fit", "`sql`"),
    ("sum(n)", "function sum", "`sql`"),
    ("count(*)", "function count", "`sql`"),
    ("row_number() over (order by n)", "function row_number", "`sql`"),
    ("n over (partition by m)", "over", "`sql`"),
    ("(select 1)", "select", ""),
    ("n in (select 1)", "select", ""),
    ("now() > moment", "function now", "`sql`"),
    ("current_date > d", "current_date", "`sql`"),
    ("d + interval '1 day'", "interval", "`sql`"),
    ("uper(s)", "function uper", "did you mean 'upper'?"),
    ("s ~ 'x'", "'~'", "`sql`"),
    ("s ilike 'x'", "ilike", "`sql`"),
    ("p is true", "`is` but for null", "write p = true"),
    ("n & 1", "'&'", "`sql`"),
    ("n; drop table t", "';'", ""),
    ("round(x, n)", "argument 2 of round (column 1)", "`sql`"),
    ("round(x, -1)", "a whole number from 0 to 15", ""),
    ("left(s, 0)", "a whole number from 1", ""),
    ("lpad(s, 3, 'ab')", "one character", ""),
    ("replace(s, '', 'x')", "not empty", ""),
    ("strftime(moment, '%f')", "no directives but", ""),
    ("power(x)", "takes 2 arguments, not 1", ""),
    ("greatest()", "takes 1 or more arguments, not 0", ""),
    ("extract(epoch from moment)", "extract(epoch from ...)", "known: year"),
    ("cast(n as float)", "type 'float'", ""),
    ("n >", "cannot be read", ""),
    ("n > 1 m", "", ""),
    ("n as k", "", ""),
    ("", "empty", "age > 18"),
    ("s like t", "LIKE", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says", "hint"), WRONG)
def test_what_does_not_fit_is_refused_with_what_to_write(text: str, says: str, hint: str) -> None:
    with pytest.raises(SchemaProblem) as caught:
        Expressions({"it": text}, BATCH.schema)
    assert says in str(caught.value)
    assert hint in caught.value.hint


def test_a_time_zone_is_never_guessed() -> None:
    schema = pa.schema([("moment", pa.timestamp("us", "UTC"))])
    for text in (
        "hour(at)",
        "at > timestamp '2024-01-01 00:00:00'",
        "cast(moment as date)",
        "strftime(moment, '%Y')",
    ):
        with pytest.raises(SchemaProblem):
            Expressions({"it": text}, schema)
    assert Expressions({"it": "moment = moment"}, schema).types["it"] == pa.bool_()


def test_comments_and_quoted_names_are_read() -> None:
    batch = pa.record_batch({"order date": pa.array([1, 2]), "Age": pa.array([1, 2])})
    assert ours('"order date" > 1 -- the second\n and /* both */ "Age" = Age', batch) == [False, True]


def test_a_column_that_stands_twice_is_an_error() -> None:
    schema = pa.schema([("a", pa.int64()), ("a", pa.int64())])
    with pytest.raises(SchemaProblem, match="stands twice"):
        Expressions({"it": "a > 1"}, schema)


def test_columns_of_exotic_types_do_not_disturb_others() -> None:
    exotic: list[Any] = [pa.int64(), pa.month_day_nano_interval(), pa.map_(pa.int8(), pa.int8())]
    schema = pa.schema(list(zip("abc", exotic, strict=True)))
    assert Expressions({"it": "a > 1"}, schema).columns == ["a"]


def test_words_are_checked_without_a_schema() -> None:
    assert check_text("a > 1") == "a > 1"
    with pytest.raises(ValueError, match=r"function sum .*: use the `sql` operator"):
        check_text("sum(a)")


def test_failing_rows_are_found_by_halving() -> None:
    bad, calls = {3, 4, 700}, []

    def fails(start: int, stop: int) -> str:
        calls.append(start)
        return "bad" if bad & set(range(start, stop)) else ""

    assert list(failing(1000, fails)) == [(3, "bad"), (4, "bad"), (700, "bad")]
    assert len(calls) < 70
    assert next(failing(1000, fails)) == (3, "bad")
