"""Cron text means what crontab(5) says, and what is wrong with it is said at its field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.timetable import ScheduleProblem, parse_cron


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("5 * * * *", "minutes", {5}),
        ("05 * * * *", "minutes", {5}),
        ("*/20 * * * *", "minutes", {0, 20, 40}),
        ("10-20/5 * * * *", "minutes", {10, 15, 20}),
        ("50/4 * * * *", "minutes", {50, 54, 58}),
        ("1,2,1,30-31 * * * *", "minutes", {1, 2, 30, 31}),
        ("0 */8 * * *", "hours", {0, 8, 16}),
        ("0 22-23,0-2 * * *", "hours", {22, 23, 0, 1, 2}),
        ("0 0 */10 * *", "days", {1, 11, 21, 31}),
        ("0 0 1 jan,Jul *", "months", {1, 7}),
        ("0 0 1 */3 *", "months", {1, 4, 7, 10}),
        ("0 0 1 MAR-MAY *", "months", {3, 4, 5}),
        ("0 0 * * 7", "weekdays", {0}),
        ("0 0 * * 0", "weekdays", {0}),
        ("0 0 * * 1", "weekdays", {1}),
        ("0 0 * * 5-7", "weekdays", {5, 6, 0}),
        ("0 0 * * fri-sun", "weekdays", {5, 6, 0}),
        ("0 0 * * SUN-TUE", "weekdays", {0, 1, 2}),
        ("0 0 * * SUN-SUN", "weekdays", {0}),
        ("0 0 * * MON-FRI/2", "weekdays", {1, 3, 5}),
        ("0 0 * * 0-7", "weekdays", set(range(7))),
        ("0 0 * * */2", "weekdays", {0, 2, 4, 6}),
        ("  0\t0  * * * ", "hours", {0}),
        ("@weekly", "weekdays", {0}),
        ("@Midnight", "hours", {0}),
    ],
)
def test_a_field_names_these_values(text: str, field: str, expected: set[int]) -> None:
    assert getattr(parse_cron(text), field) == expected


@pytest.mark.parametrize(
    ("text", "either"),
    [
        ("0 0 13 * 5", True),
        ("0 0 1-31 * 5", True),
        ("0 0 * * 5", False),
        ("0 0 13 * *", False),
        ("0 0 */2 * 5", False),
        ("0 0 13 * */2", False),
    ],
)
def test_either_day_will_do_only_where_neither_field_starts_with_a_star(text: str, either: bool) -> None:
    assert parse_cron(text).either_day is either


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  0  2 * *   mon-fri ", "0 2 * * MON-FRI"),
        ("@Annually", "@yearly"),
        ("@midnight", "@daily"),
        (" @hourly ", "@hourly"),
    ],
)
def test_the_canonical_text_is_one_for_equal_texts_and_reads_back_equal(text: str, canonical: str) -> None:
    cron = parse_cron(text)
    assert cron.text == canonical
    assert parse_cron(cron.text) == cron


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("60 * * * *", "minute '60': 60 is out of range", "0-59"),
        ("0 24 * * *", "hour '24': 24 is out of range", "0-23"),
        ("0 0 0 * *", "day of month '0': 0 is out of range", "1-31"),
        ("0 0 32 * *", "day of month '32': 32 is out of range", "1-31"),
        ("0 0 1 13 *", "month '13': 13 is out of range", "1-12, or JAN-DEC"),
        ("0 0 * * 8", "weekday '8': 8 is out of range", "0-6, or SUN-SAT"),
        ("0 0 * * Monday", "weekday 'MONDAY': 'MONDAY' is not a weekday", "'MON'"),
        ("0 0 1 SEPT *", "month 'SEPT': 'SEPT' is not a month", "'SEP'"),
        ("0 MON * * *", "hour 'MON': 'MON' is not a hour", "0-23"),
        ("0 0 * * XYZ", "weekday 'XYZ': 'XYZ' is not a weekday", "known: FRI"),
        ("*/0 * * * *", "minute '*/0': the step '0' is not a number from 1 up", "*/2"),
        ("*/x * * * *", "the step 'X' is not a number", "*/2"),
        ("*/90 * * * *", "the step 90 is longer than the field, 0-59", "the duration 90m"),
        ("0 */36 * * *", "the step 36 is longer than the field, 0-23", "the duration 36h"),
        ("0 0 */31 * *", "the step 31 is longer than the field, 1-31", "write 1 for that one value"),
        ("0 22-2 * * *", "hour '22-2': the range ends (2) before it starts", "22-23,0-2"),
        ("0 0 * * SAT-MON", "the range ends (MON) before it starts", "write 6,0-1"),
        ("0 0 * * 7-2", "the range ends (2) before it starts", "write 0-2"),
        ("*-5 * * * *", "a range that starts with *", "1-5"),
        ("1,,2 * * * *", "minute '1,,2': an empty place in a list", "1,15"),
        ("-1 * * * *", "minute '-1': '-1' is not a value", "0-59"),
        ("1.5 * * * *", "minute '1.5': '1.5' is not a value", "0-59"),
        ("² * * * *", "is not a value", "0-59"),
        ("0 0 ? * MON", "day of month '?': '?' is not part of cron", "write * instead of ?"),
        ("0 0 L * *", "'L' is not part of cron", "last and working days"),
        ("0 0 15W * *", "'15W' is not part of cron", "last and working days"),
        ("0 0 * * FRI#2", "'FRI#2' is not part of cron", "n-th weekday"),
        ("0 0 * * 5L", "'5L' is not part of cron", "n-th weekday"),
        ("H 0 * * *", "'H' is not part of cron", "write the time"),
        ("0 2 * *", "has 4 fields, not 5", "minute hour day-of-month month weekday"),
        ("2", "has 1 field, not 5", "minute hour day-of-month month weekday"),
        ("", "has 0 fields, not 5", "minute hour day-of-month month weekday"),
        ("0 0 2 * * *", "has 6 fields, not 5: seconds and years", "a duration such as 30s"),
        ("0 0 2 * * ? 2026", "has 7 fields, not 5: seconds and years", "a duration such as 30s"),
        ("@dayly", "there is no preset '@dayly'", "'@daily'"),
        ("@once", "@once is no cron", "write it as the schedule"),
        ("0 0 30 2 *", "never fires: there is no day 30 in February", "1 to 28"),
        ("0 0 30-31 FEB *", "never fires: there is no day 30 in February", "1 to 28"),
        ("0 0 31 2,4,6,9,11 *", "there is no day 31 in February or April or June", "1 to 30"),
        ("0 0 30 2 */2", "never fires", "1 to 28"),
    ],
)
def test_bad_text_says_what_where_and_what_to_write(text: str, message: str, hint: str) -> None:
    with pytest.raises(ScheduleProblem) as caught:
        parse_cron(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert repr(text) in caught.value.message or text.startswith("@")
    assert str(caught.value) == f"{caught.value.message}\n  hint: {caught.value.hint}"


@pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 30 2 1", "0 0 31 1,2 *", "0 0 29 2 */3"])
def test_what_fires_rarely_is_accepted(text: str) -> None:
    parse_cron(text)


@given(st.text(alphabet="0123456789*/-,?#LWH MONJAN@\n ", max_size=24) | st.text(max_size=12))
def test_any_text_is_a_cron_or_a_problem_with_a_hint(text: str) -> None:
    problem = cron = None
    try:
        cron = parse_cron(text)
    except ScheduleProblem as found:
        problem = found
    if cron is None:
        assert problem is not None
        assert problem.message
        assert problem.hint
    else:
        assert cron.minutes
        assert cron.hours
        assert cron.days
        assert cron.months
        assert cron.weekdays <= set(range(7))
        assert parse_cron(cron.text) == cron
