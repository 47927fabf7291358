"""No output silently undoes another, or what its stage reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.sqlite import SqliteOutput
from orchestrator.dag.discovery import load_file
from orchestrator.dag.validation import check
from orchestrator.sdk.registry import Registry
from tests.unit.dag.drafting import brief, written
from tests.unit.dag.sample_operators import CsvInput, CsvOutput

REGISTRY = Registry(entries=()).with_operators(CsvInput, CsvOutput, SqliteOutput)
LOST = "5 [{}] outputs 'o' and 'p' write the same {}: one result would be lost"
READ = "which 'in' reads in the same stage"


def found(folder: Path, first: str, second: str) -> list[str]:
    text = f"""
    nodes:
      - {{id: in, type: csv, kind: input, config: {{path: ./data/a.csv}}}}
      - {{id: other, type: csv, kind: input, config: {{path: data/b.csv}}}}
      - {{id: o, kind: output, from: in, {first}}}
      - {{id: p, kind: output, from: other, {second}}}
    """
    [loaded] = load_file(written(folder, text), registry=REGISTRY)
    return brief(check(loaded.dag, loaded.marks, REGISTRY).problems)


def csv(path: str) -> str:
    return f"type: csv, config: {{path: '{path}'}}"


def table(path: str, name: str, mode: str = "overwrite") -> str:
    return f"type: sqlite, config: {{path: {path}, table: {name}, mode: {mode}}}"


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (csv("x.csv"), csv("./y/../x.csv"), LOST.format("./y/../x.csv", "file 'x.csv'")),
        (csv("{{ ds }}.csv"), csv("{{ ds }}.csv"), LOST.format("ds", "file '{{ ds }}.csv'")),
        (table("x.db", "t"), table("x.db", "t", "append"), LOST.format("x.db", "table 't' of 'x.db'")),
        (csv("data/a.csv"), csv("x.csv"), f"4 [data/a.csv] 'o' writes the file 'data/a.csv', {READ}"),
    ],
)
def test_a_target_that_is_written_over_is_an_error_that_names_both(
    tmp_path: Path, first: str, second: str, says: str
) -> None:
    [problem] = found(tmp_path, first, second)
    assert problem == says


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (csv("x.csv"), csv("X.csv")),
        (csv("parts/"), csv("parts/")),
        (csv("{{ ds }}.csv"), csv("{{ ts }}.csv")),
        (table("x.db", "t"), table("x.db", "u")),
        (table("x.db", "t", "append"), table("x.db", "t", "append")),
        (csv("x.csv"), csv("data/a.csv")),
    ],
)
def test_targets_apart_and_targets_that_are_added_to_are_fine(
    tmp_path: Path, first: str, second: str
) -> None:
    assert found(tmp_path, first, second) == []
