# ruff: noqa: E501  # a case a line reads best
"""The short and the full form of YAML: one value, and errors that speak of what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.dag.model import Dag
from orchestrator.errors import Problems
from tests.unit.dag.drafting import brief, checked, load

SHORT = """
id: adults                      # else the file's stem
schedule: "0 2 * * *"           # start_date, params, tags, retries, ... as in Python
input:  {type: csv, config: {path: data/input.csv, delimiter: ",", has_header: true}}
processors:
  - {type: filter, config: {condition: "age > 18"}}
  - {type: mapping, config: {mappings: {old_name: new_name}}}
output: {type: csv, config: {path: data/output.csv}}
settings: {batch_size: 1000, mode: async, buffer: {rows: 262144, bytes: 64MB, high_water: 0.8}, checkpoint: {every_seconds: 10}}
"""
FULL = """
id: best_scores
nodes:
  - {id: people, type: csv, kind: input, config: {path: data/input.csv}}
  - {id: route, type: route, from: people, config: {routes: {high: "score > 90"}, default: rest}, drop: [rest]}
  - {id: best, type: csv, kind: output, from: route.high, config: {path: data/best.csv}}
"""
ACTION = """\
  - {id: tell, type: bash, config: {command: "echo done"}, after: [best], retries: 2}
"""


def test_the_short_form_is_the_full_form_with_default_ids(tmp_path: Path) -> None:
    assert checked(tmp_path, SHORT).problems == []
    full = """
    id: adults
    schedule: "0 2 * * *"
    settings: {batch_size: 1000}
    nodes:
      - {id: input, type: csv, kind: input, config: {path: data/input.csv}}
      - {id: filter, type: filter, from: input, config: {condition: "age > 18"}}
      - {id: mapping, type: mapping, from: [filter.out], config: {mappings: {old_name: new_name}}}
      - {id: output, type: csv, kind: output, from: {in: mapping}, config: {path: data/output.csv}}
    """
    assert load(tmp_path, SHORT).dag == load(tmp_path, full).dag


def test_the_full_form_works_and_so_does_its_action(tmp_path: Path) -> None:
    assert checked(tmp_path, FULL).problems == []
    assert checked(tmp_path, FULL + ACTION).problems == []
    dag = load(tmp_path, FULL + ACTION).dag
    assert [str(edge) for edge in dag.edges][-1] == "best before tell"
    assert (dag.node("tell").kind, dag.node("tell").arguments) == ("action", {"retries": 2})


def test_ids_default_to_the_files_stem_and_to_numbered_types(tmp_path: Path) -> None:
    text = """
    input: {type: csv, config: {path: a.csv}}
    processors: [{type: sessions}, {type: sessions, id: mine}, {type: sessions}]
    output: {type: csv, config: {path: b.csv}}
    """
    dag = load(tmp_path, text, "visits.yml").dag
    assert dag.id == "visits"
    assert [node.id for node in dag.nodes] == ["input", "sessions", "mine", "sessions_2", "output"]


def test_json_is_the_same_form(tmp_path: Path) -> None:
    text = '{"id": "j", "input": {"type": "csv", "config": {"path": "a"}},\n "output": {"type": "csv", "confi": {}}}'
    found = checked(tmp_path, text, "dag.json")
    assert brief(found.problems) == [
        "2 [type] csv output 'output' needs 'path'",
        "2 [] node 'output' has no field 'confi'",
    ]


def test_ports_of_a_node_are_named_in_from(tmp_path: Path) -> None:
    text = """
    nodes:
      - {id: a, type: csv, kind: input, config: {path: a}}
      - {id: b, type: csv, kind: input, config: {path: b}}
      - {id: both, type: join, from: {right: [b], left: a}, config: {on: [id]}}
      - {id: out, type: csv, kind: output, from: both, config: {path: c}}
      - {id: bad, type: csv, kind: output, from: [a.rejects, b.rejects], config: {path: d}}
    """
    assert checked(tmp_path, text).problems == []
    assert [str(edge) for edge in load(tmp_path, text).dag.edges] == [
        "a >> both.left",
        "b >> both.right",
        "both >> out",
        "a.rejects >> bad",
        "b.rejects >> bad",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input: {type: csv, config: {path: a}}", [
            "1 [input] the short form needs 'output'",
            "1 [type] nobody reads output port 'out' of 'input'",
        ]),
        ("input: csv\noutput: {type: csv, config: {path: a}}", [
            "1 [csv] input holds names and values",
            "2 [type] output 'output' has no input",
        ]),
        ("input: {type: filter, config: {condition: x > 1}}\noutput: {type: csv, config: {path: a}}", [
            "1 [filter] 'filter' is no input",
        ]),
        ("input: {type: csv, config: {path: a}, from: x}\noutput: {type: csv, kind: input, config: {path: b}}", [
            "1 [x] 'from' in the short form, which is linear",
            "2 [input] output is a node of kind output",
        ]),
        ("input: {type: csv, config: {path: a}}\nnodes: []\noutput: {type: csv, config: {path: a}}", [
            "1 [type] 'input' and 'nodes' in one file",
            "1 [input] DAG 'dag' has no nodes",
        ]),
        ("nodes: {a: {type: csv}}", ["1 [a] 'nodes' should be a list", "1 [nodes] DAG 'dag' has no nodes"]),
        ("nodes: [a]\nformat: 2", [
            "1 [a] a node holds names and values",
            "1 [a] a node has no id",
            "1 [a] a node has no type",
            "2 [2] a definition of another format; this release reads 1",
        ]),
        ("nodes:\n  - {id: a, type: csv, kind: input, config: [1], from: [3]}", [
            "2 [1] 'config' should hold names and values",
            "2 [1] csv input 'a' needs 'path'",
            "2 [3] 'from' should name a node",
        ]),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_form_is_told_at_its_place(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert sorted(brief(checked(tmp_path, text).problems)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("- 1", "a DAG file holds names and values", "begin with"),
        ("id: x\nnode: []", "no DAG: neither `nodes` nor `input` and `output`", "did you mean 'nodes'?"),
        ("id: x", "no DAG", "docs/dag-authoring.md"),
    ],
)
def test_what_is_no_dag_is_one_error(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(Problems) as caught:
        load(tmp_path, text)
    [problem] = caught.value.problems
    assert message in problem.message
    assert hint in problem.hint


def test_a_document_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        Dag.from_document({"format": 2, "id": "x", "nodes": []})
