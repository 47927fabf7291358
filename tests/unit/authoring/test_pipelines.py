"""Small pipelines, each in Python and in YAML: both build one value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.dag.discovery import LoadedDag, load_one
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.model import Dag
from orchestrator.dag.printing import to_yaml
from orchestrator.dag.validation import check
from orchestrator.sdk.registry import Registry

PIPELINES = Path(__file__).parent / "pipelines"
NAMES = ("linear", "fan_out", "stateful", "notify")
REGISTRY = Registry()


def loaded(name: str) -> LoadedDag:
    entry = load_one(PIPELINES / name, registry=REGISTRY)
    assert check(entry.dag, entry.marks, REGISTRY).problems == []
    return entry


@pytest.mark.parametrize("name", NAMES)
def test_python_and_yaml_that_say_the_same_build_equal_values(name: str) -> None:
    in_python, in_yaml = loaded(f"{name}.py").dag, loaded(f"{name}.yaml").dag
    assert in_python == in_yaml
    assert in_python.to_document() == in_yaml.to_document()
    assert in_python.hash() == in_yaml.hash()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_as_yaml_reads_back_to_an_equal_value(name: str, tmp_path: Path) -> None:
    dag = loaded(f"{name}.py").dag
    printed = tmp_path / "printed.yaml"
    printed.write_text(to_yaml(dag), encoding="utf-8")
    assert load_one(printed, registry=REGISTRY, tree=PIPELINES).dag == dag


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_document_gives_the_dag_back_and_its_code_is_not_needed(name: str) -> None:
    dag = loaded(f"{name}.py").dag
    assert Dag.from_document(dag.to_document()) == dag


def test_groups_rejects_ports_and_control_edges_are_in_the_value() -> None:
    dag = loaded("fan_out.py").dag
    assert [str(edge) for edge in dag.edges] == [
        "people >> route",
        "people.rejects >> refused",
        "route.high >> load/best",
        "route.high >> load/table",
        "route.low >> worst",
        "load/best before again",
        "again >> copy",
    ]
    assert dag.node("route").drop == ("rest",)
    assert dag.node("people").arguments == {"error_limit": {"records": 100}}


def test_a_processor_with_state_keeps_the_version_of_its_state() -> None:
    dag = loaded("stateful.yaml").dag
    assert {node.id: node.state_version for node in dag.nodes if node.state_version} == {"numbers": 2}


def test_importing_the_package_loads_nothing_else() -> None:
    code = (
        "import orchestrator, sys; print([n for n in sys.modules if n.startswith(('orchestrator.', 'pyd'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stages_take_retries_from_the_dag_and_pools_from_their_nodes() -> None:
    first, second = compile_stages(loaded("fan_out.yaml").dag, REGISTRY)
    assert (first.id, first.down, second.id, second.up) == ("people", ("again",), "again", ("people",))
    assert (first.retries, first.retry_delay, first.pool) == (2, 300.0, "disk")
    assert (second.retries, second.pool, second.queue) == (2, "default", "fast")
