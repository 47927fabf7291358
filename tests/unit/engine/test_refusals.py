"""What the engine refuses, and in which words: each names the node and says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from orchestrator.dag.model import Dag
from orchestrator.engine.boundary import NodeFailed, operator_code
from orchestrator.engine.coordinator import Acknowledgement, Coordinator, Trigger
from orchestrator.engine.durable import copy_beginning
from orchestrator.engine.edge import OutputPort, differences
from orchestrator.engine.parts import PartFolder, PartName
from orchestrator.engine.plan import one_epoch_reason, plan_stage
from orchestrator.engine.snapshot import StateFolder
from orchestrator.errors import OperatorError, UsageError
from orchestrator.runs.order import Order
from orchestrator.runs.states import Outcome
from orchestrator.sdk.context import Context
from orchestrator.sdk.operator import Operator, SchemaProblem
from orchestrator.sdk.processor import Emitted, Processor
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.testing_operators import ListInput, ListOutput, Numbered
from tests.support.stages import GrowingLines, StageRun, clear_memory


class Doing(Processor):
    """Does what the test says with each batch."""

    type: ClassVar[str] = "doing"
    what: Any = None

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        return self.what(batch)  # type: ignore[no-any-return]


def attempt(folder: Path, what: Any) -> Any:
    clear_memory()
    operators: dict[str, Operator] = {
        "source": ListInput("source", columns={"n": "int64"}, rows=[[n] for n in range(6)]),
        "doing": Doing("doing", what=what),
        "out": ListOutput("out", target="t"),
    }
    return StageRun(folder, operators, ["source.out>doing.in", "doing.out>out.in"]).attempt()


def test_a_schema_that_changes_in_mid_run_is_named_column_by_column(tmp_path: Path) -> None:
    def change(batch: pa.RecordBatch) -> Emitted:
        if batch["n"][0].as_py():
            return [pa.record_batch({"n": batch["n"].cast(pa.float64()), "more": batch["n"]})]
        return [batch]

    report = attempt(tmp_path, change)
    assert "node 'doing', batch 2: the schema of port 'out' changed in mid-run" in report.message
    assert "n was int64, is double; more was absent, is int64" in report.message
    assert not report.retry


def test_differences_tell_order_from_content() -> None:
    one, other = (pa.schema([(name, pa.int64()) for name in names]) for names in ("ab", "ba"))
    assert differences(one, other) == "the columns stand in another order"
    assert differences(None, one) == "a, b"


def test_an_unknown_port_is_named_with_those_there_are(tmp_path: Path) -> None:
    report = attempt(tmp_path, lambda batch: [("high", batch)])
    assert "has no output port 'high'" in report.message
    assert "out" in report.hint


def test_types_of_a_library_become_canonical_and_large_batches_are_cut(tmp_path: Path) -> None:
    port = OutputPort("node", "out", [], 4)
    port.emit(pa.record_batch({"word": pa.array(["a"] * 10, pa.large_string())}))
    port.emit(pa.record_batch({"word": pa.array([], pa.large_string())}))
    assert (port.rows, port.schema) == (10, pa.schema([("word", pa.string())]))


def test_two_inputs_of_one_output_must_agree(tmp_path: Path) -> None:
    clear_memory()
    operators: dict[str, Operator] = {
        "a": ListInput("a", columns={"n": "int64"}, rows=[[1]]),
        "b": ListInput("b", columns={"m": "string"}, rows=[["x"]]),
        "out": ListOutput("out", target="t"),
    }
    report = StageRun(tmp_path, operators, ["a.out>out.in", "b.out>out.in"]).attempt()
    assert "rows from 'b' have other columns" in report.message


@pytest.mark.parametrize(("value", "said"), [({1, 2}, "no JSON"), ("x" * 40_000, "bytes")])
def test_a_result_must_be_json_and_small(tmp_path: Path, value: Any, said: str) -> None:
    contexts: list[Context] = []

    def set_it(batch: pa.RecordBatch) -> Emitted:
        contexts[0].result(value)
        return [batch]

    class Setting(Doing):
        type: ClassVar[str] = "setting"

        def open(self, context: Context) -> Any:
            contexts.append(context)
            return super().open(context)

    operators: dict[str, Operator] = {
        "source": ListInput("source", columns={"n": "int64"}, rows=[[1]]),
        "setting": Setting("setting", what=set_it),
        "out": ListOutput("out", target="t"),
    }
    report = StageRun(tmp_path, operators, ["source.out>setting.in", "setting.out>out.in"]).attempt()
    assert report.node == "setting"
    assert said in report.message


def test_a_result_is_kept_and_comes_with_the_report(tmp_path: Path) -> None:
    operators: dict[str, Operator] = {
        "source": ListInput("source", columns={"n": "int64"}, rows=[[1]]),
        "out": ListOutput("out", target="t"),
    }
    report = StageRun(tmp_path, operators, ["source.out>out.in"]).attempt()
    assert report.results["source"] == {"rows": 1, "bytes": 8, "rejects": 0}


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/a"),
            "No space left on device (/x/a)",
            "--resume",
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", ""),
        (SchemaProblem("no column 'x'", hint="known: y"), "no column 'x'", "known: y"),
        (OperatorError("odd", hint="do this"), "odd", "do this"),
        (ValueError("three"), "ValueError: three", "test_refusals.py"),
    ],
)
def test_whatever_operators_raise_is_said_with_node_and_remedy(
    error: Exception, said: str, hint: str
) -> None:
    with pytest.raises(NodeFailed) as caught, operator_code("people", "batch 3"):
        raise error
    assert caught.value.message == f"node 'people', batch 3: {said}"
    assert hint in caught.value.hint


def test_an_epoch_is_begun_only_when_the_one_before_is_applied() -> None:
    coordinator = Coordinator(["a"], 4, Trigger(every_seconds=10, every_batches=3, spool_bytes=100))
    assert not coordinator.due(99, 0, 0)
    assert coordinator.due(10, 1, 0)
    assert coordinator.due(0, 3, 0)
    assert coordinator.due(0, 1, 100)
    epoch = coordinator.begin()
    assert (epoch.number, coordinator.due(99, 9, 999)) == (5, False)
    with pytest.raises(RuntimeError, match="still under way"):
        coordinator.begin()
    with pytest.raises(RuntimeError, match="not complete: a"):
        epoch.decision()
    assert epoch.acknowledge("a", Acknowledgement({}))
    coordinator.applied()
    assert coordinator.begin(final=True).number == 6


def test_names_of_parts_are_read_back_whole_or_not_at_all() -> None:
    name = PartName("load~people-0190.2", 12, 7, ".whole.parquet")
    assert PartName.parse(str(name)) == name
    assert PartName.parse("id") is None
    assert PartName.parse("a@1@x") is None


def test_a_part_that_is_needed_and_gone_names_its_host(tmp_path: Path) -> None:
    from orchestrator.runs.checkpoint import Token

    folder = PartFolder(tmp_path / "parts", "here")
    folder.prepare()
    folder.prepare()
    with pytest.raises(OperatorError, match="sealed on host there, is missing"):
        folder.need(Token("n", 1, "gone@000001@1", 3, folder.id, "there"))


def test_what_a_killed_process_left_of_an_id_is_removed_and_the_id_stays(tmp_path: Path) -> None:
    folder = PartFolder(tmp_path / "parts", "here")
    folder.prepare()
    (folder.path / "id.0123456789abcdef").touch()
    (folder.path / "id.load-0190@000001@1").touch()
    folder.remove_up_to_attempt("w", 7)
    assert sorted(path.name for path in folder.path.iterdir()) == ["id", "id.load-0190@000001@1"]


def test_a_file_that_ends_early_is_not_copied_in_silence(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with (tmp_path / "b").open("wb") as target, pytest.raises(OSError, match="2 bytes early"):
        copy_beginning(tmp_path / "a", target, 5)


def test_states_are_refused_when_damaged_or_of_another_version(tmp_path: Path) -> None:
    parts = PartFolder(tmp_path / "parts", "here")
    parts.prepare()
    folder = StateFolder(parts, 1)
    small, large = folder.save("w", 1, 2, b"x"), folder.save("w", 1, 2, b"y" * 300_000)
    assert (folder.load("n", 2, small), folder.load("n", 2, large)) == (b"x", b"y" * 300_000)
    with pytest.raises(OperatorError, match="state version 2, not 3"):
        folder.load("n", 3, small)
    assert large.file is not None
    (parts.path / large.file).write_bytes(b"z")
    with pytest.raises(OperatorError, match="missing or damaged"):
        folder.load("n", 2, large)
    folder.remove(large)
    with pytest.raises(OperatorError, match="missing or damaged"):
        folder.load("n", 2, large)
    folder.remove(small)


@pytest.mark.parametrize(
    ("path", "made", "said"),
    [
        ("out", "folder", "is a folder"),
        ("out/", "file", "is a file"),
        ("out", "pipe", "neither a file nor a folder"),
    ],
)
def test_a_target_of_the_wrong_sort_is_refused_before_reading(
    tmp_path: Path, path: str, made: str, said: str
) -> None:
    makers: dict[str, Callable[[Path], None]] = {"folder": Path.mkdir, "file": Path.touch, "pipe": os.mkfifo}
    makers[made](tmp_path / "out")
    operators: dict[str, Operator] = {
        "source": ListInput("source", columns={"n": "int64"}, rows=[[1]]),
        "out": GrowingLines("out", path=path),
    }
    report = StageRun(tmp_path, operators, ["source.out>out.in"]).attempt()
    assert said in report.message
    assert (report.outcome, report.retry) == (Outcome.FAILED, False)


def test_a_file_keeps_the_mode_of_the_one_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "out").touch(mode=0o640)
    operators: dict[str, Operator] = {
        "source": ListInput("source", columns={"n": "int64"}, rows=[[1]]),
        "out": GrowingLines("out", path="out"),
    }
    assert StageRun(tmp_path, operators, ["source.out>out.in"]).attempt().outcome is Outcome.SUCCESS
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def order_of(document: dict[str, Any], names: dict[str, Any], folder: Path) -> Order:
    return Order(
        attempt=1, dag_id="d", dag_uid="u", run_uid="r", run_id="i", stage="source", map_index=-1, base=0,
        document=document, nodes=("source", "out"), project=str(folder), artifacts=str(folder), names=names,
    )  # fmt: skip


def document(**more: Any) -> dict[str, Any]:
    return {
        "format": 1, "id": "d", **more,
        "nodes": [
            {"id": "source", "type": "generate", "kind": "input", "config": {"rows": "{{ params.rows }}"}},
            {"id": "out", "type": "discard", "kind": "output", "from": "source"},
        ],
    }  # fmt: skip


def test_templates_are_rendered_and_then_validated(tmp_path: Path) -> None:
    plan = plan_stage(order_of(document(), {"params": {"rows": 7}}, tmp_path), Registry())
    assert plan.nodes["source"].operator.config() == {"rows": 7}
    assert (plan.batch_rows, plan.trigger) == (65_536, Trigger(every_seconds=10))
    with pytest.raises(OperatorError, match="'source' does not take what its templates gave: rows"):
        plan_stage(order_of(document(), {"params": {"rows": "many"}}, tmp_path), Registry())


def test_the_limit_of_rejects_is_the_nodes_or_the_dags(tmp_path: Path) -> None:
    names = {"params": {"rows": 1}}
    plan = plan_stage(order_of(document(), names, tmp_path), Registry())
    assert plan.nodes["source"].limit == {"records": 0, "ratio": None}
    given = document(default_args={"error_limit": {"ratio": 0.5}})
    limited = plan_stage(order_of(given, names, tmp_path), Registry())
    assert limited.nodes["source"].limit == {"records": None, "ratio": 0.5}


def test_why_a_stage_has_one_epoch_names_the_node() -> None:
    class Forgetful(Numbered):
        can_snapshot: ClassVar[bool] = False

    class Once(ListInput):
        replayable: ClassVar[bool] = False

    assert one_epoch_reason({"n": Numbered("n")}) == ""
    assert one_epoch_reason({"n": Forgetful("n")}) == "'n' cannot snapshot its state"
    assert one_epoch_reason({"i": Once("i", columns={})}) == "'i' cannot rewind to a position"


def test_a_definition_of_another_release_is_refused() -> None:
    with pytest.raises((ValueError, UsageError), match="format"):
        Dag.from_document({**document(), "format": 99})
