# a case a line reads best
"""Actions in a DAG: control edges, what is refused, and what the compiled stages say of them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import pytest

from orchestrator.dag.graph import compile_stages
from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Dag, Edge, Node
from orchestrator.dag.stages import StageGraph
from orchestrator.dag.validation import check
from tests.unit.dag.drafting import brief, checked, load
from tests.unit.dag.sample_operators import REGISTRY
from tests.unit.dag.test_validation import IN, nodes, out


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([IN, out("o", "in"), "{id: a, type: bash, from: in, config: {command: x}}",
                      "{id: b, type: bash, after: [nobody], readers: 2, config: {command: x, env: {A: '{{ dz }}'}}}",  # noqa: E501
                      out("p", "a"), out("q", "b.rejects"), "{id: c, type: pick, after: [o]}"], [
            "4 [in] action 'a' takes no rows, so 'in' cannot feed it",
            "5 [nobody] there is no node 'nobody'",
            "5 [2] 'readers' of 'b', an action, which moves no rows",
            "5 [dz] unknown template name 'dz'",
            "6 [a] action 'a' gives no rows, so it cannot feed 'p'",
            "7 [b.rejects] action 'b' gives no rows, so it cannot feed 'q'",
            "8 [id] branch 'c' chooses among the nodes that follow it, and none does",
        ], id="actions"),
        pytest.param([IN, out("o", "in"), "{id: a, type: bash, after: [o], config: {command: '{{ ds }}'}}",
                      "{id: b, type: bash, after: [a], config: {command: x, env: {A: '{{ results.a.x }}'}}}",
                      "{id: c, type: bash, config: {command: x, env: {A: '{{ results.a.x }}'}}}",
                      "{id: d, type: mapping, after: [a]}", out("p", "d")], [
            "4 [ds] 'command' of bash takes no template",
            "6 [results.a.x] 'a' need not have ended when 'c' starts, so it has no result then",
            "7 [id] processor 'd' has no input",
        ], id="templates of actions"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_actions_is_told_at_once(
    tmp_path: Path, entries: list[str], expected: list[str]
) -> None:
    assert sorted(brief(checked(tmp_path, nodes(*entries)).problems)) == sorted(expected)


def test_the_compiled_stages_say_what_an_order_needs(tmp_path: Path) -> None:
    text = nodes(
        IN.replace("path: a", "path: '{{ var.place }}/{{ results.before.x }}'"),
        out("o", "in"),
        "{id: before, type: bash, config: {command: x, env: {A: '{{ conn.crm.host }}', B: '{{ ds }}'}}}",
        "{id: choose, type: pick, after: [o]}",
        "{id: last, type: bash, after: [choose], config: {command: x}}",
    ).replace("{id: in,", "{id: in, after: [before],")
    loaded = load(tmp_path, text)
    found = check(loaded.dag, loaded.marks, REGISTRY)
    assert found.problems == []
    stages = compile_stages(loaded.dag, REGISTRY)
    assert stages == compile_stages(loaded.dag, REGISTRY, found.operators)
    assert {stage.id: (stage.is_action, stage.branch) for stage in stages} == {
        "before": (True, None), "in": (False, None), "choose": (True, "branch"), "last": (True, None),
    }  # fmt: skip
    assert stages["before"].uses == (("conn", "crm"), ("ds", ""))
    assert stages["in"].uses == (("results", ""), ("results", "before"), ("var", "place"))
    assert stages["last"].uses == ()
    assert stages.choices("choose") == {"last": "last"}
    assert stages.above("choose") == {"before", "in"}
    assert StageGraph.from_json(json.loads(json.dumps(stages.to_json()))) == stages


def chain_of(length: int) -> Dag:
    made = tuple(Node(f"n{i}", "bash", "action", {"command": "true"}) for i in range(length))
    return Dag(id="d", nodes=made, edges=tuple(Edge.control(a.id, b.id) for a, b in pairwise(made)))


def test_a_large_dag_is_checked_and_compiled_in_nearly_linear_time() -> None:
    def seconds(dag: Dag) -> float:
        started = perf_counter()
        found = check(dag, Marks(), REGISTRY)
        assert found.problems == []
        compile_stages(dag, REGISTRY, found.operators)
        dag.hash()
        return perf_counter() - started

    seconds(chain_of(100))
    ratio = seconds(chain_of(4000)) / seconds(chain_of(500))
    assert ratio < 30, f"8 times the nodes take {ratio:.0f} times the time"
