# ruff: noqa: E501  # a case a line reads best
"""Authoring in Python: ids, edges, ports, groups, places, and what a DAG block refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.dag.discovery import load_file
from orchestrator.errors import Problems
from tests.unit.dag.drafting import brief, checked, load, written
from tests.unit.dag.sample_operators import REGISTRY


def edges(folder: Path, block: str) -> list[str]:
    """The edges of a block inside `with DAG("d"):`."""
    text = 'with DAG("d"):\n' + "".join(f"    {line}\n" for line in block.strip().splitlines())
    return [str(edge) for edge in load(folder, text, "dag.py").dag.edges]


def error(folder: Path, text: str) -> str:
    """The one problem of a file that cannot be imported, as `line message`."""
    with pytest.raises(Problems) as caught:
        load_file(written(folder, text, "dag.py"), registry=REGISTRY)
    [problem] = caught.value.problems
    return f"{problem.line} {problem.message}"


def test_producer_to_consumer_is_a_stream_all_else_is_after(tmp_path: Path) -> None:
    block = """
a, f, o = CsvInput("a", path="x"), Filter("f", condition="x > 1"), CsvOutput("o", path="y")
b = CsvInput("b", path="z")
a >> f >> o >> b
b.before(a)
"""
    assert edges(tmp_path, block) == ["b before a", "a >> f", "f >> o", "o before b"]


def test_lists_fan_out_and_in_and_chain_joins_in_a_row(tmp_path: Path) -> None:
    block = """
a, b = CsvInput("a", path="x"), CsvInput("b", path="y")
m, n = Mapping("m"), Mapping("n")
[a, b] >> m
chain([a, b], n, [CsvOutput("o", path="z"), CsvOutput("p", path="z")])
m << a
"""
    assert edges(tmp_path, block) == ["a >> m", "b >> m", "a >> n", "b >> n", "n >> o", "n >> p"]


def test_ports_are_named_on_either_side(tmp_path: Path) -> None:
    block = """
a = CsvInput("a", path="x")
route = Route("route", routes={"high": "x > 1"})
join = Join("join", on=["id"])
a >> route
route["high"] >> join.into["left"]
route.out["default"] >> join.into["right"]
join.rejects >> CsvOutput("bad", path="y")
"""
    assert edges(tmp_path, block) == [
        "a >> route",
        "route.high >> join.left",
        "route.default >> join.right",
        "join.rejects >> bad",
    ]


def test_groups_prefix_ids_and_join_their_first_and_last_nodes(tmp_path: Path) -> None:
    block = """
a = CsvInput("a", path="x")
with TaskGroup("clean") as clean:
    first = Mapping("first")
    with TaskGroup("deep"):
        last = Mapping("last")
    first >> last
a >> clean >> CsvOutput("o", path="y")
"""
    assert edges(tmp_path, block) == [
        "a >> clean/first",
        "clean/first >> clean/deep/last",
        "clean/deep/last >> o",
    ]


def test_how_nodes_were_wired_does_not_show_in_the_value(tmp_path: Path) -> None:
    one = (
        'with DAG("d"):\n    a, m = CsvInput("a", path="x"), Mapping("m")\n    o = CsvOutput("o", path="y")\n'
    )
    first = load(tmp_path, one + "    a >> m >> o\n", "dag.py").dag
    second = load(tmp_path, one + "    m >> o\n    a >> m\n    a >> m\n", "dag.py").dag
    assert first == second


def test_problems_stand_at_the_argument_that_the_author_wrote(tmp_path: Path) -> None:
    text = """
    with DAG("d", schedul="@daily",
             settings={"buffer": {"rows": 0}}) as dag:
        a = CsvInput("a", pth="x",
                     delimiter=";;")
        a >> Filter("f", condition="{{ dss }}") >> CsvOutput("o.p", path="y", retries=-1)
        a.out["hig"] >> CsvOutput("q", path="z")
        CsvInput("b", path="x").out["high"] >> CsvOutput("r", path="w")
    """
    assert brief(checked(tmp_path, text, "dag.py").problems) == [
        "3 [@daily] a DAG has no field 'schedul'",
        "4 [0] 'settings.buffer.rows' of a DAG should be greater than or equal to 1",
        "5 [CsvInput] csv input 'a' needs 'path'",
        "5 [x] csv input 'a' has no field 'pth'",
        "6 [] 'delimiter' of csv input 'a' should have at most 1 character",
        "7 [dss] unknown template name 'dss'",
        "7 [o.p] 'o.p' is no id of a node",
        "7 [-1] 'retries' of node 'o.p' should be greater than or equal to 0",
        "9 [CsvInput] 'b' has no output port 'high'",
        "9 [CsvInput] nobody reads output port 'out' of 'b'",
    ]


def test_every_dag_closed_while_the_file_is_imported_counts(tmp_path: Path) -> None:
    text = """
    def make(name):
        with DAG(name):
            CsvInput("a", path="x") >> CsvOutput("o", path="y")
    for name in ("one", "two"):
        make(name)
    """
    loaded = load_file(written(tmp_path, text, "dag.py"), registry=REGISTRY)
    assert [entry.dag.id for entry in loaded] == ["one", "two"]


def test_two_dags_of_one_name_in_one_file_are_an_error(tmp_path: Path) -> None:
    text = """
    with DAG("one"):
        CsvInput("a", path="x") >> CsvOutput("o", path="y")
    with DAG("one"):
        CsvInput("a", path="x") >> CsvOutput("o", path="y")
    """
    loaded = load_file(written(tmp_path, text, "dag.py"), registry=REGISTRY)
    assert [len(entry.marks.problems) for entry in loaded] == [0, 1]
    assert brief(loaded[1].marks.problems) == ["5 [one] a second DAG 'one' in one file"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('with DAG("a"):\n    with DAG("b"):\n        pass', "4 a DAG cannot be opened inside another"),
        ('with DAG("a") as a:\n    pass\nwith a:\n    pass', "5 DAG 'a' is closed already"),
        ('x = CsvInput("x", path="a")\nwith DAG("a"):\n    x >> Mapping("m")', "5 node 'x' was made outside DAG 'a'"),
        ('CsvInput("x", path="a") >> Mapping("m")',
         '3 RuntimeError: nodes are joined inside a DAG: write `with DAG("name"): ...` around them'),
        ('with DAG("a"):\n    Mapping("m") >> 5', "4 TypeError: int 5 cannot be joined with >>: it is no node"),
        ('with DAG("a"):\n    CsvInput("x", path="a").expand(path=["a"])',
         "4 AttributeError: .expand() does not work yet: mapping over a list will come in a later release"),
        ('with DAG("a"):\n    CsvInput("x", path="a").rejects.materialize()',
         "4 AttributeError: .materialize() does not work yet: materialised edges will come in a later release"),
        ('with DAG("a"):\n    with TaskGroup("g") as g:\n        pass\n    g >> Mapping("m")',
         "6 group 'g' has no nodes to join"),
        ("from orchestrator import Asset",
         "3 ImportError: 'Asset' of orchestrator does not work yet: assets will come in a later release"),
        ("import json\ndef f():\n    json.loads('{')\nf()",
         "5 JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("x = (1,\n", "3 not Python: '(' was never closed"),
        ("raise SystemExit(3)", "3 the file ends the process when it is imported"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_one_problem_at_the_authors_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert error(tmp_path, text) == expected


def test_after_a_failed_import_the_next_file_is_read_as_if_nothing_had_been(tmp_path: Path) -> None:
    assert error(tmp_path, 'with DAG("a"):\n    with TaskGroup("g"):\n        1 / 0').endswith(
        "division by zero"
    )
    assert edges(tmp_path, 'CsvInput("a", path="x") >> CsvOutput("o", path="y")') == ["a >> o"]


def test_an_operator_that_is_not_the_registered_one_is_refused(tmp_path: Path) -> None:
    text = """
    class Mine(CsvInput):
        pass
    with DAG("d"):
        Mine("a", path="x") >> CsvOutput("o", path="y")
    """
    assert brief(checked(tmp_path, text, "dag.py").problems) == [
        "6 [Mine] Mine is not the operator that is registered as 'csv' input"
    ]
