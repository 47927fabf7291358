"""Templates: the names they use are known before they are rendered, and nothing else is reachable."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from orchestrator.sdk.template import (
    TemplateProblem,
    Use,
    add_days,
    faults,
    native,
    render,
    revive,
    strftime,
    time_names,
    uses,
)


def test_the_names_of_a_text_are_read_without_rendering_it() -> None:
    text = "{{ ds }}-{{ params.day }}-{{ conn['crm'].host }}{% for x in var.list %}{{ x }}{% endfor %}"
    assert uses(text) == [Use("conn", "crm"), Use("ds"), Use("params", "day"), Use("var", "list")]
    assert uses("no template") == []


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("{{ dss }}", "unknown template name 'dss'", "ds"),
        ("{{ params[ds] }}", "computed", "literally"),
        ("{{ params }}", "without a member", "params.something"),
        ("{{ ds | uper }}", "unknown template filter 'uper'", "upper"),
        ("{{ ds", "cannot be read", "{{ ds }}"),
        ("{{ cycler }}", "unknown template name 'cycler'", ""),
    ],
)
def test_what_cannot_be_known_beforehand_is_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(TemplateProblem, match="template|member|name") as caught:
        uses(text)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_dates_are_moved_and_formatted_as_text_or_moment() -> None:
    names = revive(
        time_names(
            logical_date=datetime(2026, 3, 1, 5, tzinfo=UTC),
            prev_logical_date=datetime(2026, 2, 28, 5, tzinfo=UTC),
            interval=(datetime(2026, 2, 28, 5, tzinfo=UTC), datetime(2026, 3, 1, 5, tzinfo=UTC)),
            run_id="r",
        )
    )
    assert (
        render("{{ ds | add_days(-1) }} {{ ds_nodash }} {{ ts_nodash }}", names)
        == "2026-02-28 20260301 20260301T050000"
    )
    assert render("{{ logical_date | strftime('%d.%m.') }}", names) == "01.03."
    assert render("{{ ts | add_hours(2) }}", names) == "2026-03-01T07:00:00+00:00"
    assert render("{{ data_interval_start.day }} {{ prev_logical_date.month }}", names) == "28 2"
    assert add_days(date(2026, 1, 31), 1) == datetime(2026, 2, 1)  # noqa: DTZ001
    assert add_days(datetime(2026, 1, 31, tzinfo=UTC), 1) - datetime(2026, 1, 31, tzinfo=UTC) == timedelta(
        days=1
    )
    assert strftime("2026-01-31", "%j") == "031"


def test_a_run_without_a_schedule_has_no_interval() -> None:
    names = time_names(
        logical_date=datetime(2026, 1, 1, tzinfo=UTC), prev_logical_date=None, interval=None, run_id="r"
    )
    assert (names["data_interval_start"], names["prev_logical_date"]) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "{{ params.missing }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ 1 // 0 }}",
        "{{ ds.nothing.more }}",
        "{{ 'x' | add_days(1) }}",
    ],
)
def test_what_is_missing_or_out_of_reach_does_not_render(text: str) -> None:
    with pytest.raises(TemplateProblem, match="does not render"):
        render(text, {"ds": "2026-01-01", "params": {}})


def test_all_that_is_wrong_with_a_text_is_found_at_once() -> None:
    found = faults("{{ dss }} {{ params[y] }} {{ env }} {{ ds | uper }}")
    assert [fault.message for fault in found] == [
        "unknown template filter 'uper'",
        "the member of 'params' is computed",
        "unknown template name 'dss'",
        "'env' is used without a member",
    ]
    assert found[1].hint == "name it literally: params.something"


@pytest.mark.parametrize(
    "text", ["out/{{ data_interval_start }}", "{{ data_interval_start | strftime('%Y') }}"]
)
def test_a_null_has_no_text_and_a_missing_interval_is_explained(text: str) -> None:
    with pytest.raises(TemplateProblem, match="data_interval_start is null") as caught:
        render(text, {"data_interval_start": None})
    assert caught.value.hint == "this DAG has no schedule"


def test_a_null_param_is_named() -> None:
    with pytest.raises(TemplateProblem, match=r"params\.x is null") as caught:
        render("{{ params.x }}", {"params": {"x": None}})
    assert "or 'none'" in caught.value.hint
    assert render("{{ params.x or 'none' }}", {"params": {"x": None}}) == "none"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ params.n }}", 3),
        (" {{- params.n + 1 -}} ", 4),
        ("{{ params.none }}", None),
        ("{{ params.rows }}", [{"a": 1}]),
        ("{{ params.rows[0].a }}", 1),
        ("n={{ params.n }}", "n=3"),
        ("{{ params.n }}{{ params.n }}", "33"),
        ("{% if params.n %}yes{% endif %}", "yes"),
        ("{{ '}}' }}", "}}"),
        ("plain", "plain"),
    ],
)
def test_a_text_that_is_one_expression_gives_the_value_itself(text: str, value: object) -> None:
    assert native(text, {"params": {"n": 3, "none": None, "rows": [{"a": 1}]}}) == value


@pytest.mark.parametrize(
    "text", ["{{ params.absent }}", "{{ results.a.b.c }}", "{{ params.n / 0 }}", "x{{ params.none }}"]
)
def test_a_value_that_is_not_there_is_an_error_that_shows_the_template(text: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        native(text, {"params": {"n": 3, "none": None}, "results": {"a": {}}})
    assert text in caught.value.message
