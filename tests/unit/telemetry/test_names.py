"""docs/telemetry.md lists every name that is told, and no other; names are used as declared."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.telemetry import names

DOCUMENT = Path(__file__).parents[3] / "docs/telemetry.md"


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    section = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_document_lists_every_metric() -> None:
    expected = {}
    for metric in names.METRICS:
        attributes = ", ".join(f"`{name}`" for name in metric.attributes)
        expected[metric.name] = [metric.kind, f"`{metric.unit}`", metric.description, attributes]
    assert table("Metrics") == expected


def test_the_document_lists_every_span() -> None:
    assert table("Traces") == {name: [meaning] for name, meaning in names.SPANS.items()}


def test_the_document_lists_every_attribute() -> None:
    assert table("Attributes") == {name: [meaning] for name, meaning in names.ATTRIBUTES.items()}


def test_every_name_is_declared_once_and_in_its_list() -> None:
    said = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    assert said == names.ATTRIBUTES.keys() | names.SPANS.keys()
    metrics = [value for value in vars(names).values() if isinstance(value, names.Metric)]
    assert len({metric.name for metric in metrics}) == len(metrics)
    assert set(metrics) == set(names.METRICS)
    assert {name for metric in metrics for name in metric.attributes} <= names.ATTRIBUTES.keys()
