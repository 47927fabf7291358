# ruff: noqa: E501  # a case a line reads best
"""Every problem of a file at once, each with its place, its value and what to write."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from operators.transforms.mapping import Mapping as RealMapping
from orchestrator.dag.discovery import load_file
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Dag
from orchestrator.dag.validation import check
from orchestrator.errors import Problem, Problems
from orchestrator.sdk.registry import Registry
from tests.unit.dag.drafting import brief, checked, load, written
from tests.unit.dag.sample_operators import REGISTRY, CsvInput, CsvOutput

IN = "{id: in, type: csv, kind: input, config: {path: a}}"


def out(node_id: str, origin: str, more: str = "") -> str:
    return f"{{id: {node_id}, type: csv, kind: output, from: {origin}, config: {{path: b.{node_id.replace('/', '_')}}}{more}}}"


def nodes(*entries: str, head: str = "") -> str:
    """A file of nodes; the first stands in line 2, or after `head`."""
    return f"{head}nodes:\n" + "".join(f"  - {entry}\n" for entry in entries)


def test_all_problems_of_a_file_are_found_at_once(tmp_path: Path) -> None:
    text = """
    id: everything
    nodes:
      - {id: a, type: csv, kind: input, config: {path: x.csv}}
      - {id: b, type: filtr, from: a, config: {condition: "age > 18"}}
      - {id: c, type: csv, kind: output, from: bb, config: {path: y.csv, mod: append}}
      - {id: c, type: csv, kind: output, from: a.high, config: {path: [1]}, retrys: 3}
      - {id: d, type: csv, from: a, config: {path: z.csv}}
    schedul: "@daily"
    """
    problems = checked(tmp_path, text).problems
    assert brief(problems) == [
        "4 [filtr] unknown operator 'filtr'",
        "5 [bb] there is no node 'bb'",
        "5 [append] csv output 'c' has no field 'mod'",
        "6 [c] a second node 'c', first in line 5",
        "6 [a.high] 'a' has no output port 'high'",
        "6 [1] 'path' of csv output 'c' should be a text",
        "6 [3] node 'c' has no field 'retrys'",
        "7 [id] node 'd' must say its kind: 'csv' is input and output",
        "8 [@daily] a DAG has no field 'schedul'",
    ]
    hints = {problem.message: problem.hint for problem in problems}
    assert hints["unknown operator 'filtr'"] == "did you mean 'filter'?"
    assert hints["csv output 'c' has no field 'mod'"] == "did you mean 'mode'?"
    assert hints["node 'c' has no field 'retrys'"] == "did you mean 'retries'?"
    assert hints["a DAG has no field 'schedul'"] == "did you mean 'schedule'?"
    assert {problem.value for problem in problems} >= {"append", "[1]", "3", "@daily"}
    assert {problem.file for problem in problems} == {str(tmp_path / "dag.yaml")}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([IN, "{id: f, type: filter, config: {condition: x > 1}}", out("o", "in")], [
            "3 [id] processor 'f' has no input", "3 [id] nobody reads output port 'out' of 'f'"], id="unreachable"),
        pytest.param([IN, out("o", "in"), "{id: o2, type: csv, kind: output, config: {path: c}}"], [
            "4 [id] output 'o2' has no input"], id="output without input"),
        pytest.param([IN, out("o", "in"), "{id: f, type: mapping, from: o}", out("p", "f")], [
            "4 [o] output 'o' gives no rows, so it cannot feed 'f'"], id="output that feeds"),
        pytest.param([IN, out("o", "in2"), "{id: in2, type: csv, kind: input, from: in, config: {path: a}}"], [
            "4 [in] input 'in2' takes no rows, so 'in' cannot feed it",
        ], id="input that is fed"),
        pytest.param([IN, "{id: j, type: join, from: {left: in, rigt: in}, config: {on: [x]}}", out("o", "j")], [
            "3 [in] 'j' has no input port 'rigt'", "3 [id] input port 'right' of 'j' is not fed"], id="input port"),
        pytest.param([IN, "{id: r, type: route, from: in, config: {routes: {a: x > 1}}, drop: [b, a]}",
                      out("o", "r.a"), out("p", "r.c")], [
            "5 [r.c] 'r' has no output port 'c'",
            "3 [id] nobody reads output port 'default' of 'r'",
            "3 [b] 'r' has no output port 'b' to drop",
            "3 [b] output port 'a' of 'r' is dropped, and read as well",
        ], id="output ports"),
        pytest.param([IN.replace("}}", "}, drop: rejects}"), out("o", "in")], [
            "2 [rejects] 'in' has no output port 'rejects' to drop"], id="rejects are not dropped"),
        pytest.param([IN, out("o", "in"), out("a.b", "in"), out("9", "in"), out("a/b", "in"), out("a//b", "in")], [
            "4 [a.b] 'a.b' is no id of a node", "5 [9] '9' is no id of a node", "7 [a//b] 'a//b' is no id of a node",
        ], id="ids"),
        pytest.param([IN, out("o", "in", ", retries: -1, retry_delay: soon, pool_slots: 0, weight_rule: up")], [
            "3 [-1] 'retries' of node 'o' should be greater than or equal to 0",
            "3 [soon] retry_delay: not a duration: write it like 30s, 5m, 2h or 1h30m",
            "3 [0] 'pool_slots' of node 'o' should be greater than or equal to 1",
            "3 [up] 'weight_rule' of node 'o' should be 'downstream', 'upstream' or 'absolute'",
        ], id="arguments"),
        pytest.param([IN, out("o", "in", ", trigger_rule: all_don, depends_on_past: true, splits: 2, readers: 3")], [
            "3 [all_don] no trigger rule 'all_don'",
            "3 [true] 'depends_on_past' does not work yet: runs that wait for the one before will come in a later release",
            "3 [2] 'splits' does not work yet: splits will come in a later release",
            "3 [3] 'readers' of 'o', which is no input",
        ], id="refused arguments"),
        pytest.param([IN, out("o", "in", ", trigger_rule: all_success, depends_on_past: false, splits: 1")], [],
                     id="arguments that ask for nothing"),
        pytest.param([IN, out("o", "in", ", on_failure_callback: x, expand: {a: 1}, sla: 1h, path: c")], [
            "3 [x] 'on_failure_callback' does not work yet: callbacks will come in a later release",
            "3 [a] 'expand' does not work yet: mapping over a list will come in a later release",
            "3 [1h] 'sla' does not work yet: deadlines will come in a later release",
            "3 [c] 'path' belongs to the configuration of csv",
        ], id="refused by name, misplaced"),
        pytest.param([IN, out("o", "in"), "{id: x, type: csv, kind: action, config: {path: a}}",
                      "{id: y, type: http}", "{id: z, type: csv, kind: outptu, config: {path: a}}"], [
            "4 [action] 'csv' is no action",
            "5 [http] operator 'http' does not work yet: this action will come in a later release",
            "6 [outptu] 'csv' is no outptu",
        ], id="kinds"),
        pytest.param([IN, "{id: f, type: mapping, from: g}", "{id: g, type: mapping, from: [f, in]}", out("o", "g")], [
            "4 [f] a cycle: f >> g >> f"], id="cycle"),
        pytest.param([IN, "{id: f, type: mapping, from: [f, in]}", out("o", "f")], [
            "3 [f] a cycle: f >> f"], id="cycle of one"),
        pytest.param([IN, "{id: f, type: mapping, from: in}", out("o", "f"), out("p", "in", ", after: [o]")], [
            "5 [o] 'o' is to end before 'p' starts, and both are in one stage (o - f - in - p)"], id="control inside"),
        pytest.param([IN.replace("}}", "}, retries: 1, pool: a, priority_weight: 5}"),
                      out("o", "in", ", retries: 2, pool: a, priority_weight: 9")], [
            "3 [2] 'in' and 'o' are in one stage and set different 'retries': 1 and 2"], id="stage settings"),
        pytest.param([IN.replace("}}", "}, trigger_rule: all_done}"), out("o", "in", ", trigger_rule: always"),
                      out("p", "in", ", trigger_rule: all_done")], [
            "3 [always] 'in' and 'o' are in one stage and set different 'trigger_rule': all_done and always",
        ], id="trigger rules of one stage"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, entries: list[str], expected: list[str]) -> None:
    assert sorted(brief(checked(tmp_path, nodes(*entries)).problems)) == sorted(expected)


def test_the_remedy_for_what_cuts_a_stage_is_a_materialised_edge(tmp_path: Path) -> None:
    text = nodes(IN, out("o", "in"), out("p", "in", ", after: [o]"))
    [problem] = checked(tmp_path, text).problems
    assert "write the rows to a file, and read it in another stage" in problem.hint
    assert "a materialised edge" in problem.hint


def test_a_cycle_among_stages_of_an_acyclic_graph_is_told_with_its_path(tmp_path: Path) -> None:
    text = nodes(
        IN,
        out("o1", "in"),
        out("o2", "in", ", after: sql"),
        "{id: more, type: csv, kind: input, config: {path: c}, after: o1}",
        out("sql", "more"),
    )
    [problem] = checked(tmp_path, text).problems
    assert problem.message == (
        "stages wait for each other: o1 before more, more in one stage with sql (more - sql), "
        "sql before o2, o2 in one stage with o1 (o2 - in - o1)"
    )


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('schedule: "0 0 30 2 *"', "1 [0] schedule: cron '0 0 30 2 *' never fires: there is no day 30 in February"),
        ('schedule: "@fortnightly"', "1 [@fortnightly] schedule: there is no preset '@fortnightly'"),
        ("schedule: 5", "1 [5] schedule 5 is a number without a unit"),
        ("start_date: 2026-13-01", "1 [2026-13-01] start_date: '2026-13-01' is not a date or a time"),
        ("timezone: Europe/Berln", "1 [Europe/Berln] timezone: there is no time zone 'Europe/Berln'"),
        ("max_active_runs: many", "1 [many] 'max_active_runs' of a DAG should be a whole number"),
        ("catchup: perhaps", "1 [perhaps] 'catchup' of a DAG should be true or false"),
        ("id: a.b", "1 [a.b] id: a dot is reserved for the ids that the compiler makes: write - or _ in its place"),
        ("id: 5", "1 [5] 'id' of a DAG should be a text"),
        ("schedule_interval: 1h", "1 [1h] unknown argument 'schedule_interval'"),
        ("on_success_callback: x", "1 [x] 'on_success_callback' does not work yet: callbacks will come in a later release"),
        ("default_args: {retrie: 3}", "1 [3] default_args has no field 'retrie'"),
        ("default_args: [1]", "1 [1] 'default_args' should hold names and values"),
        ("default_args: {trigger_rule: none_faild}", "1 [none_faild] no trigger rule 'none_faild'"),
        ("trigger_rule: all_done_setup_success", "1 [all_done_setup_success] no trigger rule 'all_done_setup_success'"),
        ("retries: -1", "1 [-1] 'retries' of the DAG should be greater than or equal to 0"),
        ("{retries: 1, default_args: {retries: 2}}", "1 [1] 'retries' is given twice, here and in default_args"),
        ("params: {day: {type: strin}}", "1 [type] param day: unknown type 'strin'; did you mean 'string'?"),
        ("params: {n: {type: integer, default: x}}", "1 [type] param n: the default must be of type integer, not string"),
        ("params: {n: {type: integer, minimun: 1}}", "1 [type] param n: unknown keyword 'minimun'; did you mean 'minimum'?"),
        ("start_date: 2026-02-01\nend_date: 2026-01-01", "2 [2026-01-01] end_date 2026-01-01 00:00:00+00:00 is before start_date 2026-02-01 00:00:00+00:00"),
        ('schedule: ["@once"]', "1 [@once] schedule @once is no cron and stands alone"),
        ("settings: {mode: fast}", "1 [fast] 'settings.mode' of a DAG should be 'sync' or 'async'"),
        ("settings: {batch_siz: 1}", "1 [1] a DAG has no field 'settings.batch_siz'"),
        ("settings: {buffer: {bytes: 64XB}}", "1 [64XB] settings.buffer.bytes: not a size: write it like 64MB or 64MiB"),
        ("settings: {buffer: {rows: 0}}", "1 [0] 'settings.buffer.rows' of a DAG should be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_dag_itself(tmp_path: Path, head: str, expected: str) -> None:
    if head.startswith("{"):
        text = f"{head[:-1]}, nodes: [{IN}, {out('o', 'in')}]}}"
    else:
        text = nodes(IN, out("o", "in"), head=f"{head}\n")
    assert brief(checked(tmp_path, text).problems) == [expected]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{{ dss }}", "unknown template name 'dss'"),
        ("{{ ds | add_day(1) }}", "unknown template filter 'add_day'"),
        (
            "{{ ds",
            "the template cannot be read: unexpected end of template, expected 'end of print statement'.",
        ),
        ("{{ params.dya }}", "DAG 'dag' has no param 'dya'"),
        ("{{ params[ds] }}", "the member of 'params' is computed"),
        ("{{ params }}", "'params' is used without a member"),
        ("{{ env.HOME }}", "environment variable 'HOME' is not listed for templates"),
        ("{{ results.nobody }}", "there is no node 'nobody' with a result"),
        ("{{ results.other }}", "'other' need not have ended when 'o' starts, so it has no result then"),
        ("{{ results.in }}", "'in' need not have ended when 'o' starts, so it has no result then"),
    ],
)
def test_templates_use_only_what_the_run_will_have(tmp_path: Path, path: str, message: str) -> None:
    text = nodes(
        IN.replace("}}", "}, after: before}"),
        f"{{id: o, type: csv, kind: output, from: in, config: {{path: '{path}'}}}}",
        "{id: first, type: csv, kind: input, config: {path: c}}",
        out("before", "first"),
        "{id: third, type: csv, kind: input, config: {path: d}}",
        out("other", "third"),
        head="params: {day: x}\ntemplate_env: [DATA]\n",
    )
    [problem] = checked(tmp_path, text).problems
    assert (problem.line, problem.message, problem.value) == (5, message, path)
    good = "{{ ds }} {{ params.day }} {{ env.DATA }} {{ results.before }} {{ results.first.rows }} {{ conn.crm }}"
    assert checked(tmp_path, text.replace(path, good)).problems == []


def test_a_template_where_none_is_rendered_is_refused(tmp_path: Path) -> None:
    text = nodes(IN, "{id: m, type: mapping, from: in, config: {mappings: {a: '{{ ds }}'}}}", out("o", "m"))
    [problem] = checked(tmp_path, text).problems
    assert problem.message == "'mappings.a' of mapping takes no template"
    assert (problem.line, problem.column, problem.value) == (3, 61, "{{ ds }}")


SCHEMA = nodes(
    "{id: in, type: csv, kind: input, config: {path: a, columns: {age: int64, name: string}}}",
    "{id: f, type: filter, from: in, config: {condition: size > 1}}",
    out("o", "f"),
)


def test_a_column_that_a_known_schema_lacks_is_found_before_the_run(tmp_path: Path) -> None:
    [problem] = checked(tmp_path, SCHEMA).problems
    assert problem == Problem(
        str(tmp_path / "dag.yaml"), 3, 57, "'f': there is no column 'size'", "it has age, name", "size > 1"
    )


def test_schemas_that_the_sources_show_are_checked_too(tmp_path: Path) -> None:
    loaded = load(tmp_path, SCHEMA.replace(", columns: {age: int64, name: string}", ""))
    assert check(loaded.dag, loaded.marks, REGISTRY).problems == []
    found = pa.schema([("size", pa.int64())])
    seen = check(loaded.dag, loaded.marks, REGISTRY, {"in": found})
    assert seen.problems == []
    assert seen.schemas == {("in", "out"): found, ("f", "out"): found}
    missing = check(loaded.dag, loaded.marks, REGISTRY, {"in": pa.schema([("a", pa.int8())])})
    assert brief(missing.problems) == ["3 [size] 'f': there is no column 'size'"]


def test_rows_with_different_columns_do_not_meet_at_one_port(tmp_path: Path) -> None:
    text = nodes(
        "{id: a, type: csv, kind: input, config: {path: a, columns: {x: int64}}}",
        "{id: b, type: csv, kind: input, config: {path: a, columns: {x: string}}}",
        out("o", "[a, b]"),
    )
    assert brief(checked(tmp_path, text).problems) == [
        "4 [b] rows of 'a' and 'b' meet at 'o' with different columns: x int64; x string"
    ]


def test_two_pipelines_that_only_rejects_join_are_warned_of(tmp_path: Path) -> None:
    text = nodes(
        IN, out("o", "in"), "{id: b, type: csv, kind: input, config: {path: a}}", out("p", "[b, in.rejects]")
    )
    found = checked(tmp_path, text)
    assert found.problems == []
    assert brief(found.warnings) == ["5 [in.rejects] only the rejects of 'in' join it to 'p' in one stage"]
    alone = nodes(IN, out("o", "in"), out("bad", "in.rejects"))
    assert checked(tmp_path, alone).warnings == []


def test_a_stored_definition_is_checked_by_the_same_rules(tmp_path: Path) -> None:
    text = nodes(IN, out("o", "in", ", retries: 2"))
    document = load(tmp_path, text).dag.to_document()
    document["nodes"][1]["config"]["pth"] = "x"
    document["nodes"][1]["trigger_rule"] = "one_faild"
    document["nodes"][1]["depends_on_past"] = True
    found = check(Dag.from_document(document), Marks(), REGISTRY)
    assert [problem.message for problem in found.problems] == [
        "'depends_on_past' does not work yet: runs that wait for the one before will come in a later release",
        "csv output 'o' has no field 'pth'",
        "no trigger rule 'one_faild'",
    ]
    with pytest.raises(Problems):
        found.or_raise()


def test_the_dag_of_a_broken_file_does_not_hide_its_other_problems(tmp_path: Path) -> None:
    """A node whose operator is unknown takes part in no rule that would only repeat the first problem."""
    text = nodes(IN, "{id: m, type: maping, from: in}", out("o", "m"), out("p", "q"))
    assert brief(checked(tmp_path, text).problems) == [
        "3 [maping] unknown operator 'maping'",
        "5 [q] there is no node 'q'",
    ]


def test_a_dag_without_a_problem_compiles(tmp_path: Path) -> None:
    assert list(compile_stages(load(tmp_path, nodes(IN, out("o", "in"))).dag, REGISTRY).stages) == ["in"]


def test_a_node_that_keeps_the_columns_hides_no_problem_behind_it(tmp_path: Path) -> None:
    text = nodes(
        IN.replace("}}", ", columns: {name: string, age: int64}}}"),
        "{id: f, type: filter, from: in, config: {condition: aeg > 1}}",
        "{id: g, type: filter, from: f, config: {condition: [age]}}",
        "{id: h, type: filter, from: g, config: {condition: nam > 18}}",
        out("o", "h"),
    )
    assert brief(checked(tmp_path, text).problems) == [
        "3 [aeg] 'f': there is no column 'aeg'",
        "4 [age] 'condition' of filter processor 'g' should be a text",
        "5 [nam] 'h': there is no column 'nam'",
    ]


def test_all_that_is_wrong_inside_one_mapping_is_found_at_once(tmp_path: Path) -> None:
    text = """
    input: {type: csv, config: {path: a, columns: {name: string, age: int64}}}
    processors:
      - type: mapping
        config:
          mappings: {nam: x, name: age, id: q}
          columns:
            a: agee + 1
            b: 2
          types: {zz: int64, age: strin, q: int64, a: string}
          remove:
            - age
            - gone
          unknown: 1
    output: {type: csv, config: {path: b}}
    """
    registry = Registry(entries=()).with_operators(CsvInput, CsvOutput, RealMapping)
    [loaded] = load_file(written(tmp_path, text), registry=registry)
    problems = check(loaded.dag, loaded.marks, registry).problems
    assert brief(problems) == [
        "5 [x] 'mapping': there is no column 'nam'",
        "5 [q] 'mapping': there is no column 'id'",
        "7 [agee] 'mapping': there is no column 'agee'",
        "8 [2] 'columns.b' of mapping processor 'mapping' should be a text",
        "9 [int64] 'mapping': there is no column 'zz'",
        "9 [strin] types.age: no type 'strin'; did you mean 'string'?",
        "12 [gone] 'mapping': there is no column 'gone'",
        "13 [1] mapping processor 'mapping' has no field 'unknown'",
    ]


def test_two_nodes_of_one_id_are_one_error_and_no_cycle(tmp_path: Path) -> None:
    for entries in (
        ["{id: p, type: mapping, from: in}", "{id: p, type: mapping, from: p}"],
        [
            "{id: p, type: mapping, from: in}",
            "{id: q, type: mapping, from: p}",
            "{id: p, type: mapping, from: q}",
        ],
    ):
        problems = checked(tmp_path, nodes(IN, *entries, out("o", "p"))).problems
        assert [problem.message for problem in problems] == ["a second node 'p', first in line 3"]


def test_retries_of_default_args_are_named_so(tmp_path: Path) -> None:
    text = nodes(IN, out("o", "in"), head="default_args: {retries: -2}\npool_slots: -1\n")
    assert brief(checked(tmp_path, text).problems) == [
        "1 [-2] 'retries' of default_args should be greater than or equal to 0",
        "2 [-1] 'pool_slots' of the DAG should be greater than or equal to 1",
    ]


def test_a_file_whose_name_is_no_id_needs_one(tmp_path: Path) -> None:
    text = nodes(IN, out("o", "in"))
    [problem] = checked(tmp_path, text, "2024-report.yaml").problems
    assert problem.message.startswith("the DAG has no id, and the file's name '2024-report' is none")
    assert problem.hint == "write `id:`"
    assert checked(tmp_path, f"id: report\n{text}", "2024-report.yaml").problems == []


def test_all_faults_of_a_template_are_told(tmp_path: Path) -> None:
    text = nodes(IN, "{id: o, type: csv, kind: output, from: in, config: {path: '{{ dss }}{{ params.x }}"
                     "{{ env.HOME }}{{ results.foo }}{{ params[y] }}'}}")  # fmt: skip
    assert [problem.message for problem in checked(tmp_path, text).problems] == [
        "DAG 'dag' has no param 'x'",
        "environment variable 'HOME' is not listed for templates",
        "the member of 'params' is computed",
        "there is no node 'foo' with a result",
        "unknown template name 'dss'",
    ]
