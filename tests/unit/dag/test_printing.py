# ruff: noqa: E501  # a case a line reads best
"""A DAG printed as YAML reads back to the same value, by YAML 1.1's rules too."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.document import draft_of
from orchestrator.dag.model import Dag, Edge, Node
from orchestrator.dag.printing import to_yaml
from orchestrator.dag.reading import read
from orchestrator.dag.yaml_reader import read_yaml
from tests.unit.dag.sample_operators import REGISTRY

TRICKY = st.sampled_from(
    ["on", "no", "1e3", "0o7", "017", "1:30", "=", "~", "", "null", "{{ ds }}", "@daily", "*", "a: b", "# x", "- a", "é", "<<"]
)  # fmt: skip
TEXTS = TRICKY | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1, max_size=20
)


@given(TEXTS, TEXTS, st.integers(0, 9), st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_any_dag_comes_back_whole(
    path: str, description: str, retries: int, mappings: dict[str, str]
) -> None:
    nodes = (
        Node("a", "csv", "input", {"path": path or "x"}),
        Node(
            "load/m", "mapping", "processor", {"mappings": mappings} if mappings else {}, {"retries": retries}
        ),
        Node("o", "csv", "output", {"path": "out/"}, {"retry_delay": "1m30s"}),
    )
    edges = (Edge.stream("a", "load/m"), Edge.stream("load/m", "o"))
    dag = Dag(id="d", description=description, nodes=nodes, edges=edges, params={"p": {"default": path}})
    text = to_yaml(dag)
    document, marks = read_yaml(text, "f.yaml")
    assert read(draft_of(document, marks, default_id="x"), REGISTRY) == dag
    assert marks.problems == []
    assert document == dag.to_document()
    # `=` and `<<` are YAML 1.1's own; its readers refuse what they cannot mean.
    by_1_1: Any = yaml.safe_load(text)
    assert by_1_1 == dag.to_document()


def test_it_reads_well() -> None:
    dag = Dag(
        id="d",
        schedule="@daily",
        nodes=(
            Node("a", "csv", "input", {"path": "in/{{ ds }}.csv"}),
            Node("o", "csv", "output", {"path": "o"}),
        ),
        edges=(Edge.stream("a", "o", source_port="rejects"), Edge.control("a", "o")),
    )
    assert to_yaml(dag) == (
        "format: 1\n"
        "id: d\n"
        "schedule: '@daily'\n"
        "nodes:\n"
        "  - id: a\n"
        "    type: csv\n"
        "    kind: input\n"
        "    config:\n"
        '      path: "in/{{ ds }}.csv"\n'
        "  - id: o\n"
        "    type: csv\n"
        "    kind: output\n"
        "    from: a.rejects\n"
        "    after:\n"
        "      - a\n"
        "    config:\n"
        "      path: o\n"
    )
