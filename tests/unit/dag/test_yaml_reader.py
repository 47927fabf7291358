# ruff: noqa: E501  # a case a line reads best
"""YAML by YAML 1.2's core rules, with places, within bounds."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.yaml_reader import MAX_VALUES, read_json, read_yaml
from orchestrator.errors import Problems


def value_of(text: str) -> Any:
    value, marks = read_yaml(f"a: {text}", "f.yaml")
    assert marks.problems == []
    return value["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("y", "y"), ("1:30", "1:30"), ("017", 17), ("0o17", 15),
        ("0x1F", 31), ("-3", -3), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("1e3", 1000.0),
        (".5", 0.5), ("+1.5", 1.5), (".inf", math.inf), ("-.INF", -math.inf), ("", None), ("~", None),
        ("null", None), ("True", True), ("FALSE", False), ("tRue", "tRue"), ('"5"', "5"), ("'true'", "true"),
        ("!!str 5", "5"), ("!!int 5", 5), ("!!float 5", 5), ("&x 5", 5), ("=", "="), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_plain_values_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_not_a_number_is_read() -> None:
    assert math.isnan(value_of(".nan"))


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert read_yaml("a: &a {x: 1}\nb: {<<: *a}", "f")[0] == {"a": {"x": 1}, "b": {"<<": {"x": 1}}}


def test_every_key_and_value_has_its_place() -> None:
    _, marks = read_yaml("a:\n  - b: 1\n    c: [x,  y]\n", "f.yaml")
    places = {path: (place.line, place.column) for path, place in marks.places.items()}
    assert places[("a", 0, "b")] == (2, 8)
    assert places[("a", 0, "c", 1)] == (3, 13)
    assert marks.at(("a", 0, "c", 7, "deeper")).line == 3


def test_all_keys_given_twice_are_told_with_both_lines() -> None:
    _, marks = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 2\n", "f.yaml")
    assert [(p.line, p.column, p.message) for p in marks.problems] == [
        (2, 11, "'c' is given twice, first in line 2"),
        (3, 1, "'a' is given twice, first in line 1"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("schedule: @daily", (1, 11), '"@daily"'),
        ("schedule: */5 * * * *", (1, 12), '"*/5 * * * *"'),
        ("path: {{ ds }}.csv", (1, 15), "put the value in quotes"),
        ("c: {path: out/{{ ds }}.csv}", (1, 15), "put the value in quotes"),
        ("a:\n\tb: 1", (2, 1), "indent with spaces"),
        ('a: "b', (1, 6), "a quote is not closed"),
    ],
)
def test_the_usual_slips_say_what_to_write(text: str, place: tuple[int, int], hint: str) -> None:
    with pytest.raises(Problems) as caught:
        read_yaml(text, "f.yaml")
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == place
    assert hint in problem.hint


def test_a_template_that_became_a_mapping_says_to_quote_it() -> None:
    _, marks = read_yaml("path: {{ ds }}", "f.yaml")
    [problem] = marks.problems
    assert (problem.line, problem.message) == (1, "a template without quotes")
    assert '"{{ ds }}"' in problem.hint


@pytest.mark.parametrize("text", ["a: !!python/name:os.system x", "a: !x {}", "a: !!python/object:os.X {}",
                                  "a: !!set {x}", "a: !!int x"])  # fmt: skip
def test_a_tag_that_is_not_plain_yaml_is_an_error(text: str) -> None:
    assert len(read_yaml(text, "f.yaml")[1].problems) == 1


def test_a_document_that_grows_by_aliases_is_refused_quickly() -> None:
    layers = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Problems, match=f"more than {MAX_VALUES:,} values"):
        read_yaml("\n".join(layers), "f.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "an alias that holds itself"),
        ("[" * 5000 + "]" * 5000, "nest"),
        ("[" * 60 + "]" * 60, "nested deeper than 50 levels"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("# nothing", "the file is empty"),
        ("a: \x00", "zero bytes"),
        ("a: \x07", "not YAML"),
        ("x" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_what_is_no_document_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(Problems) as caught:
        read_yaml(text, "f.yaml")
    assert len(caught.value.problems) == 1
    assert message in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)  # fmt: skip


@given(json_values, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_json_is_read_as_json_reads_it(value: Any, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read_json(text, "f.json")[0] == json.loads(text)


@pytest.mark.parametrize(
    ("text", "place"), [('{"a": 1,}', (1, 9)), ("{'a': 1}", (1, 2)), ('{"a": NaN}', (0, 0)), ("a: 1", (1, 1))]
)
def test_json_is_held_to_its_own_rules(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(Problems) as caught:
        read_json(text, "f.json")
    assert [(p.line, p.column) for p in caught.value.problems] == [place]
