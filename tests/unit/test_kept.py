"""What any store can keep."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kept import instant, readable, unkeepable

EARLY, LATE = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(["\\u0000", "\\\0", "\\\\u0000"])
values = st.recursive(texts | st.integers(), lambda v: st.lists(v) | st.dictionaries(texts, v), max_leaves=8)


@pytest.mark.parametrize(
    "moment",
    [datetime.min.replace(tzinfo=EARLY), datetime.max.replace(tzinfo=LATE), datetime(2026, 1, 1)],  # noqa: DTZ001
)
def test_an_instant_that_no_zone_could_show_is_refused(moment: datetime) -> None:
    with pytest.raises(ValueError, match="outside the years|no time zone"):
        instant(moment)


def test_an_instant_is_in_utc() -> None:
    assert instant(datetime(2026, 1, 1, 14, tzinfo=EARLY)) == datetime(2026, 1, 1, tzinfo=UTC)
    assert instant(datetime(2026, 1, 1, 14, tzinfo=EARLY)).tzinfo is UTC


def is_kept(text: str) -> bool:
    return "\0" not in text and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


@given(values)
def test_a_value_is_refused_exactly_where_a_text_in_it_cannot_be_kept(value: Any) -> None:
    def words(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        return [word for one in inside for word in words(one)] if isinstance(inside, list) else []

    assert (unkeepable(value) == "") is all(map(is_kept, words(value)))


@given(texts)
def test_a_text_made_readable_can_be_kept_and_is_otherwise_the_same(text: str) -> None:
    made = readable(text)
    assert is_kept(made)
    assert unkeepable(json.loads(json.dumps(made))) == ""
    assert (made == text) is is_kept(text)
