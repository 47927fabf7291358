"""Connections and variables from the environment; the secret never shows."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.sdk.connection import (
    connection_from_text,
    connections_from_environment,
    variables_from_environment,
)


def test_a_url_is_taken_apart() -> None:
    found = connection_from_text("crm", "postgresql://ada:s%40cret@db.example:5433/sales?sslmode=require")
    assert (found.type, found.host, found.port, found.login, found.database) == (
        "postgresql",
        "db.example",
        5433,
        "ada",
        "sales",
    )
    assert found.password.get_secret_value() == "s@cret"
    assert found.extra == {"sslmode": "require"}
    assert "s@cret" not in repr(found)


def test_a_json_object_says_the_same() -> None:
    found = connection_from_text("crm", '{"type": "http", "host": "h", "password": "x", "extra": {"a": 1}}')
    assert (found.type, found.extra) == ("http", {"a": 1})


@pytest.mark.parametrize("text", ["", "no url", '{"host": "h"}', "{broken", "http://h:port/"])
def test_what_is_neither_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UsageError, match="FUSTGO_CONN_CRM") as caught:
        connection_from_text("crm", text)
    assert not text or text not in str(caught.value)


def test_one_that_is_not_set_is_named_with_its_node() -> None:
    environ = {"FUSTGO_CONN_CRN": "http://h"}
    with pytest.raises(UsageError, match="node 'load' needs connection 'crm'") as caught:
        connections_from_environment(environ, {"crm": "load"})
    assert "crn" in caught.value.hint
    assert connections_from_environment(environ, {"crn": "load"})["crn"].host == "h"


def test_variables_are_named_in_lower_case() -> None:
    assert variables_from_environment({"FUSTGO_VAR_DAY": "x", "OTHER": "y"}) == {"day": "x"}
