# a case a line reads best
"""The JSON Schema of the YAML form: what the validator accepts it accepts, and it is usable in editors."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from orchestrator.dag.schema import dag_schema
from orchestrator.dag.yaml_reader import read_yaml
from tests.unit.dag.sample_operators import REGISTRY
from tests.unit.dag.test_document import ACTION, FULL, SHORT

SCHEMA = dag_schema(REGISTRY)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def document(text: str) -> Any:
    return read_yaml(text, "f.yaml")[0]


def errors(value: Any) -> list[str]:
    """The path of each error, the deepest one of each."""
    found = []
    for error in VALIDATOR.iter_errors(value):
        best = jsonschema.exceptions.best_match([error])
        found.append(".".join(map(str, best.absolute_path)) if best is not None else "")
    return sorted(found)


def test_it_is_itself_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", [SHORT, FULL])
def test_both_forms_are_valid(text: str) -> None:
    assert errors(document(text)) == []


def test_an_action_is_valid() -> None:
    assert errors(document(FULL + ACTION)) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("schedul", "x", [""]),
        ("schedule", 5, ["schedule"]),
        ("schedule", {"type": "cron_trigger", "cron": "@daily"}, []),
        ("start_date", "2026-01-01", []),
        ("id", "a.b", ["id"]),
        ("retries", -1, ["retries"]),
        ("trigger_rule", "all_done_min_one_success", []),
        ("trigger_rule", "all_don", ["trigger_rule"]),
        ("retries", "many", ["retries"]),
        ("retry_delay", "5m", []),
        ("default_args", {"retrie": 1}, ["default_args"]),
        ("default_args", {"retries": 1, "owner": "ana"}, []),
        ("tags", "demo", []),
        ("tags", ["demo"], []),
        ("tags", [1], ["tags.0"]),
        ("template_env", "HOME", []),
        ("splits", 3, ["splits"]),
        ("splits", 1, []),
        ("depends_on_past", True, ["depends_on_past"]),
        ("depends_on_past", False, []),
        ("nodes.1.splits", 3, ["nodes.1.splits"]),
        ("nodes.1.depends_on_past", True, ["nodes.1.depends_on_past"]),
        ("params", {"day": {"type": "string"}, "n": 5}, []),
        ("settings", {"buffer": {"bytes": "64MB"}}, []),
        ("settings", {"buffer": {"byte": 1}}, ["settings.buffer"]),
        ("settings", {"mode": "fast"}, ["settings.mode"]),
        ("nodes.0.config.pth", "x", ["nodes.0.config"]),
        ("nodes.0.config.path", 5, ["nodes.0.config.path"]),
        ("nodes.0.config.path", None, ["nodes.0.config.path"]),
        ("nodes.0.kind", "output", []),
        ("nodes.0.kind", "inputt", ["nodes.0.kind"]),
        ("nodes.1.kind", "input", ["nodes.1.kind"]),
        ("nodes.1.type", "rout", ["nodes.1.type"]),
        ("nodes.1.retrys", 1, ["nodes.1"]),
        ("nodes.1.id", "load/people", []),
        ("nodes.1.id", "load people", ["nodes.1.id"]),
        ("nodes.1.from", {"in": ["people", "other.rejects"]}, []),
        ("nodes.1.from", [1], ["nodes.1.from.0"]),
        ("nodes.1.error_limit", {"record": 1}, ["nodes.1.error_limit"]),
        ("nodes.1.rate_limit", {"records_per_second": 10, "bytes_per_second": "1MB"}, []),
        ("nodes.1.weight_rule", "up", ["nodes.1.weight_rule"]),
    ],
)
def test_what_is_wrong_is_found_at_its_path(path: str, value: Any, expected: list[str]) -> None:
    changed = copy.deepcopy(document(FULL))
    *parts, last = path.split(".")
    place = changed
    for part in parts:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    assert errors(changed) == expected


def test_a_type_of_two_kinds_must_say_which() -> None:
    changed = document(FULL)
    del changed["nodes"][0]["kind"]
    assert errors(changed) == ["nodes.0"]


@pytest.mark.parametrize(
    "change", [{"nodes": []}, {"output": None}, {"input": {"type": "filter"}}, {"processors": {}}]
)
def test_a_short_form_that_is_none_is_found(change: dict[str, Any]) -> None:
    changed = {key: value for key, value in (document(SHORT) | change).items() if value is not None}
    assert errors(changed)


def test_every_field_of_every_operator_is_described() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for field, entry in definition.get("properties", {}).items():
            if name not in ("node", "short.input", "short.processor", "short.output"):
                assert entry.get("description") or "$ref" in entry, f"{name}.{field}"
