# ruff: noqa: E501  # a case a line reads best
"""Params: declared as a default or a JSON Schema, read from texts, checked."""

from __future__ import annotations

from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.model import Dag
from orchestrator.dag.params import Param, declare_params, faults, resolve_params
from orchestrator.errors import Problems

DAG = Dag(
    id="d",
    params=declare_params(
        {
            "day": Param("2026-01-31", type="string", format="date", description="The day."),
            "limit": 90,
            "ratio": 0.5,
            "dry": False,
            "names": ["a"],
            "region": {"type": "string", "enum": ["eu", "us"]},
            "note": None,
            "free": {"type": ["integer", "null"], "default": None, "minimum": 1},
        }
    ),
)


def test_texts_are_read_as_the_declared_types_and_defaults_fill_the_rest() -> None:
    assert resolve_params(DAG, {"region": "eu", "limit": "7", "dry": "true", "free": "3", "names": '["x"]'}) == {
        "day": "2026-01-31", "limit": 7, "ratio": 0.5, "dry": True, "names": ["x"], "region": "eu",
        "note": None, "free": 3,
    }  # fmt: skip
    assert resolve_params(DAG, {"region": "us", "ratio": "2", "note": "text", "free": "null"})["ratio"] == 2
    assert resolve_params(DAG, {"region": "us", "note": "5"})["note"] == 5


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(Problems) as caught:
        resolve_params(DAG, {"dayy": "x", "day": "31.01.2026", "limit": "many", "dry": "yes", "free": "0"})
    told = {problem.message: problem.hint for problem in caught.value.problems}
    assert told == {
        "DAG 'd' has no param 'dayy'": "did you mean 'day'?",
        "param 'day' must be a date, such as 2026-01-31": "The day.",
        "param 'limit' must be of type integer, not string": "",
        "param 'dry' must be of type boolean, not string": "",
        "param 'free' must be at least 1": "",
        "param 'region' has no default": "give it: --param region=VALUE",
    }


def test_a_param_of_a_dag_without_params_says_so() -> None:
    with pytest.raises(Problems, match="it has none"):
        resolve_params(Dag(id="d"), {"x": "1"})


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"9": 1}, "'9' is no name of a param"),
        ({"a": {"type": "strin"}}, "did you mean 'string'"),
        ({"a": {"type": "string", "minLenght": 1}}, "did you mean 'minLength'"),
        ({"a": {"type": "string", "format": "dat"}}, "did you mean 'date'"),
        ({"a": {"type": "string", "pattern": "("}}, "the pattern cannot be read"),
        ({"a": {"enum": ["x"], "default": "y"}}, "the default must be one of x"),
        ({"a": object()}, "is no JSON value"),
        ({"a": float("nan")}, "not JSON compliant"),
    ],
)
def test_a_declaration_that_cannot_be_kept_is_refused(declaration: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        declare_params(declaration)
    assert message in str(caught.value)


def test_a_plain_default_may_be_a_mapping_or_a_date() -> None:
    assert declare_params({"a": {"x": 1}, "b": date(2026, 1, 1)}) == {
        "a": {"default": {"x": 1}, "type": "object"},
        "b": {"default": "2026-01-01", "type": "string"},
    }


def test_param_takes_one_default() -> None:
    with pytest.raises(TypeError, match="one positional argument"):
        Param(1, 2)


SCHEMAS = st.sampled_from(
    [
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
        {"type": ["number", "null"], "maximum": 3, "exclusiveMinimum": -1},
        {"type": "string", "minLength": 2, "maxLength": 3},
        {"type": "string", "pattern": "^a+$"},
        {"type": "boolean"},
        {"enum": [1, "a", None]},
        {"const": "a"},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
        {"type": "object"},
    ]
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 6), st.floats(-2, 6), st.text("ab", max_size=4),
    st.lists(st.one_of(st.integers(-1, 2), st.text("a", max_size=1)), max_size=3),
    st.dictionaries(st.text("a", max_size=1), st.integers(), max_size=1),
)  # fmt: skip


@given(SCHEMAS, VALUES)
def test_faults_are_what_json_schema_finds(schema: dict[str, Any], value: Any) -> None:
    whole_float = (
        isinstance(value, float) and value.is_integer()
    )  # 2.0 is an integer to JSON Schema, not to us
    boolean = isinstance(value, bool) and not {"type", "const"} & set(schema)  # nor is true 1 there
    if not (whole_float or boolean):
        assert (not list(faults(schema, value))) == jsonschema.Draft202012Validator(schema).is_valid(value)
