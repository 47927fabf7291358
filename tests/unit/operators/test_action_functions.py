"""Python functions as actions: how they are declared, refused, found again and run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator import DAG, action, branch
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.pipeline import Surroundings, run_attempt
from orchestrator.engine.signals import Signals
from orchestrator.errors import FustgoError, UsageError
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.sdk.action import Snooze
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.registry import Registry
from tests.unit.operators import action_functions as functions

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAMES = {"ds": "2026-01-31", "params": {"day": "monday"}, "results": {"load": {"rows": 7}}}
REGISTRY = Registry()
TRIGGER: dict[str, Any] = {
    "effect": "trigger_run",
    "dag_id": "report",
    "params": {},
    "logical_date": None,
    "run_id": None,
}


class Standing(SystemClock):
    """A clock whose time is always the same."""

    def now(self) -> datetime:
        return NOW


class Port:
    """Nobody asks anything of the attempt."""

    def progress(self, progress: object) -> None:
        """Not looked at."""


def attempt(
    node: Operator, signals: Signals | None = None, clock: Clock | None = None, **changes: Any
) -> Report:
    """One attempt of a node, as a runner runs it."""
    entry = {"id": node.id, "type": node.type, "kind": "action", "config": node.config()}
    order = Order(
        1, "d", "dag-uid", "run-uid", "manual", node.id, -1, 0, {"nodes": [entry]}, (node.id,),
        project="/tmp", artifacts="/tmp", names=NAMES,
    )  # fmt: skip
    around = Surroundings(REGISTRY, clock or Standing(), "here", signals or Signals())
    return run_attempt(replace(order, **changes), Port(), around)  # type: ignore[arg-type]


def test_a_function_gets_context_and_rendered_arguments_and_returns_its_result() -> None:
    node = functions.told("tell", channel="#{{ ds }}", times="{{ results.load.rows - 5 }}")
    report = attempt(node)
    result = {"to": "#2026-01-31", "times": 2, "rows": 7, "day": "monday"}
    assert (report.outcome, report.results, report.effects) == (Outcome.SUCCESS, {"tell": result}, ())


def test_a_rendered_argument_must_be_what_the_function_takes() -> None:
    report = attempt(functions.told("tell", channel="x", times="{{ results.load.rows - 7 }}"))
    assert report.outcome == Outcome.FAILED
    assert not report.retry
    assert "node 'tell'" in report.message
    assert "times" in report.message
    assert "greater than or equal to 1" in report.message


def test_what_returns_nothing_has_no_result_and_context_result_sets_one() -> None:
    assert attempt(functions.nothing()).results == {}
    assert attempt(functions.said()).results == {"said": {"said": 1}}


def test_a_declared_connection_is_handed_over() -> None:
    connections = {"crm": {"type": "http", "host": "crm.example", "password": "x"}}
    assert attempt(functions.connected(), connections=connections).results == {"connected": "crm.example"}


@pytest.mark.parametrize(
    ("what", "result", "effects"),
    [
        ("tuple", [1, 2], []),
        ("alone", None, [{"effect": "set_variable", "key": "last", "value": None}]),
        ("effects", {"rows": 3}, [
            {"effect": "set_variable", "key": "last", "value": "2026-01-31"},
            TRIGGER | {"params": {"n": 1}, "run_id": "mine"},
        ]),
        ("dated", None, [
            TRIGGER | {"logical_date": "2026-01-31T00:00:00+00:00"},
        ]),
    ],
)  # fmt: skip
def test_results_and_effects_go_into_the_report_as_json(what: str, result: Any, effects: list[Any]) -> None:
    report = attempt(functions.returning("r", what=what))
    assert report.outcome == Outcome.SUCCESS, report
    assert report.results == ({} if result is None else {"r": result})
    assert list(report.effects) == effects


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("object", "node 'r': its result is no JSON: Object of type object is not JSON serializable"),
        ("nan", "node 'r': its result is no JSON: Out of range float values are not JSON compliant"),
        ("large", "node 'r': its result has 70,002 bytes; at most 65,536 are kept"),
        ("no effect", "node 'r': it returned str as an effect"),
        ("no date", "node 'r': its TriggerRun cannot be: Invalid isoformat string: 'Monday'"),
        ("naive", "node 'r': its TriggerRun cannot be: 2026-01-31 00:00:00 has no time zone"),
    ],
)
def test_what_cannot_be_kept_is_an_error_that_names_the_node(what: str, message: str) -> None:
    report = attempt(functions.returning("r", what=what))
    assert (report.outcome, report.message, report.node, report.retry) == (
        Outcome.FAILED,
        message,
        "r",
        False,
    )


def test_a_snooze_says_when_to_look_again() -> None:
    report = attempt(functions.returning("r", what="snooze"))
    assert (report.outcome, report.until) == (Outcome.SNOOZED, datetime(2026, 1, 31, 12, 1, 30, tzinfo=UTC))
    assert attempt(functions.returning("r", what="until")).until == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [{}, {"seconds": 1, "until": NOW}, {"seconds": -1}, {"until": datetime(2026, 1, 1)}],  # noqa: DTZ001
)
def test_a_snooze_without_a_clear_time_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="Snooze"):
        Snooze(**values)


def test_an_error_shows_the_authors_lines_and_none_of_ours() -> None:
    told: list[FustgoError] = []
    entry = {"id": "f", "type": "python", "kind": "action", "config": functions.failing("f").config()}
    order = Order(1, "d", "u", "r", "m", "f", -1, 0, {"nodes": [entry]}, ("f",), "/tmp", "/tmp", names=NAMES)
    report = run_attempt(order, Port(), Surroundings(REGISTRY, Standing(), "h", Signals(), told.append))  # type: ignore[arg-type]
    assert report.message == "node 'f': ValueError: no rows on monday"
    file = functions.__file__
    lines = [line.strip() for line in report.hint.splitlines()]
    assert [line.split(":")[0] for line in lines] == ["raised at", file, file]
    assert lines[-1].endswith("""in _inner: raise ValueError(f"no rows on {params['day']}")""")
    assert report.retry
    assert isinstance(told[0].__cause__, ValueError)


def test_a_value_that_refuses_itself_shows_the_line_that_made_it() -> None:
    """Not a frame of code that was made at run time, in which there is nothing to see."""
    report = attempt(functions.looking_back("r"))
    assert "Snooze(seconds=-5) is no time to wait" in report.message
    assert report.hint.startswith(f"raised at {functions.__file__}:")
    assert report.hint.count("\n") == 0, report.hint


def test_what_fails_after_a_cancel_was_cancelled() -> None:
    signals = Signals()
    signals.cancel()
    assert attempt(functions.failing("f"), signals).outcome == Outcome.CANCELLED
    assert attempt(functions.nothing(), signals).outcome == Outcome.SUCCESS


def test_an_attempt_that_may_only_apply_has_nothing_to_do() -> None:
    assert attempt(functions.failing("f"), only="apply") == Report(Outcome.SUCCESS)


BRANCHES = {"fast": "fast", "slow": "slow", "table": "load", "nothing": "nothing", "group/full": "group/full"}


@pytest.mark.parametrize(
    ("what", "stages"),
    [
        ("fast", ["fast"]),
        (["slow", "fast", "slow"], ["slow", "fast"]),
        ("table", ["load"]),
        ("full", ["group/full"]),
        ("node", ["group/full"]),
        ("function", ["nothing"]),
        ([], []),
        (None, []),
    ],
)
def test_a_branch_stores_the_stages_that_it_chose(what: Any, stages: list[str]) -> None:
    report = attempt(functions.chosen("pick", what=what), branches=BRANCHES)
    assert (report.outcome, report.results) == (Outcome.SUCCESS, {"pick": stages}), report


@pytest.mark.parametrize(("what", "said"), [("fats", "'fats'"), (5, "int 5")])
def test_a_choice_that_does_not_follow_names_those_that_do(what: Any, said: str) -> None:
    report = attempt(functions.chosen("pick", what=what), branches=BRANCHES)
    assert report.outcome == Outcome.FAILED
    assert report.message == f"node 'pick': it chose {said}, which does not directly follow it"
    assert report.hint == "it may choose: fast, slow, table, nothing, group/full"


@pytest.mark.parametrize(("value", "stored"), [(1, True), ([], False), (None, False), ("no", True)])
def test_a_short_circuit_stores_the_truth_of_what_it_returned(value: Any, stored: bool) -> None:
    assert attempt(functions.goes_on("go", value=value)).results == {"go": stored}


def test_a_branch_cannot_snooze() -> None:
    assert "a branch cannot snooze" in attempt(functions.asleep()).message


def test_decorators_say_how_a_stage_branches_and_what_it_needs() -> None:
    made = [functions.told("t", channel="x"), functions.chosen("c", what=1), functions.goes_on("g", value=1)]
    assert [node.branching for node in (*made, functions.only_next())] == [
        None, "branch", "short_circuit", "short_circuit_direct",
    ]  # fmt: skip
    assert [node.wants_results for node in made] == [True, False, False]
    assert functions.connected().connection_names() == ("crm",)


def outer() -> None:
    @action
    def inner() -> None: ...


async def waiting() -> None: ...


def yielding() -> Any:
    yield 1


def positional(channel: str) -> None: ...


def several(*names: str) -> None: ...


def reserved(*, retries: int) -> None: ...


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (outer, "outer.<locals>.inner is not at module level"),
        (lambda: action(waiting), "waiting is async"),
        (lambda: branch(yielding), "yielding yields"),
        (lambda: action(positional), "positional takes channel by position"),
        (lambda: action(several), "several takes *names"),
        (lambda: action(reserved), "'retries' is an argument that every node has"),
        (lambda: action(Registry), "Registry is no function"),
    ],
)
def test_what_cannot_be_an_action_is_refused_with_its_line(decorate: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        decorate()
    assert message in caught.value.message
    assert caught.value.message.startswith(f"{__file__}:")


def test_a_bare_name_is_one_node_and_joins_by_control_edges() -> None:
    with DAG("d") as dag:
        functions.nothing >> functions.goes_on("go", value=1) >> [functions.said, functions.nothing("again")]
        functions.nothing.before(functions.only_next)
    assert [str(edge) for edge in dag.draft.edges] == [
        "nothing before go", "go before said", "go before again", "nothing before only_next",
    ]  # fmt: skip


def test_calling_a_function_with_something_else_than_an_id_says_how_to_call_it() -> None:
    with pytest.raises(TypeError, match="the function is told.function"):
        functions.told({"x": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "function", "message"),
    [
        ("processor", "told", "is no processor: write `kind: action`"),
        ("action", "Any", "is not an action: decorate it with @action"),
        ("action", "tolled", "has no 'tolled'; did you mean 'told'?"),
        ("action", "told", "argument 'channel' of told: Field required"),
    ],
)
def test_yaml_names_functions_by_kind(kind: str, function: str, message: str, tmp_path: Path) -> None:
    from orchestrator.dag.discovery import load_one
    from orchestrator.dag.validation import check

    source = "" if kind == "action" else "  - {id: g, type: generate, config: {rows: 1}}\n"
    origin = "" if kind == "action" else ", from: g"
    file = tmp_path / "d.yaml"
    file.write_text(
        f"id: d\nnodes:\n{source}  - {{id: n, type: python, kind: {kind}{origin}, "
        f"config: {{function: 'tests.unit.operators.action_functions:{function}'}}}}\n"
    )
    loaded = load_one(file, registry=REGISTRY)
    problems = [problem.message for problem in check(loaded.dag, loaded.marks, REGISTRY).problems]
    assert any(message in problem for problem in problems), problems
