"""What the engine promises of a stage, run straight, crashed at every point and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from orchestrator.engine.coordinator import Trigger
from orchestrator.runs.figures import node_figures
from orchestrator.runs.states import Outcome
from orchestrator.sdk.context import Context
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.output import Applier, Delivery
from orchestrator.sdk.processor import Emitted, Processor, ProcessorRuntime, RowFailed
from orchestrator.sdk.testing import as_rows
from orchestrator.sdk.testing_operators import ListInput, ListOutput, Numbered
from tests.support.stages import GrowingLines, JoinedLines, StageRun, clear_memory

ROWS = [[number, f"name {number}"] for number in range(9)]
POINTS = (
    "restore.prepared", "restore.staging_removed", "restore.checkpoint_read", "restore.reopened",
    "part.sealed",
    "folder.synced", "epoch.decided", "output.applied", "file.renamed", "epoch.applied", "stage.finished",
    "staging.removed",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    clear_memory()
    yield
    clear_memory()


def numbers(rows: list[list[Any]] = ROWS, **fields: Any) -> ListInput:
    return ListInput("source", columns={"n": "int64", "name": "string"}, rows=rows, **fields)


def all_outputs() -> dict[str, Operator]:
    return {
        "source": numbers(),
        "count": Numbered("count"),
        "grown": GrowingLines("grown", path="grown.jsonl"),
        "joined": JoinedLines("joined", path="joined.jsonl"),
        "folder": GrowingLines("folder", path="folder/"),
        "memory": ListOutput("memory", target="t"),
    }


ALL_EDGES = (
    "source.out>count.in", "count.out>grown.in", "count.out>joined.in", "count.out>folder.in",
    "count.out>memory.in",
)  # fmt: skip


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> Mapping[str, Any]:
    """What a reader of the four targets finds."""
    parts = sorted((folder / "folder").glob("*.jsonl"))
    return {
        "grown": read_lines(folder / "grown.jsonl"),
        "joined": read_lines(folder / "joined.jsonl"),
        "folder": [row for part in parts for row in read_lines(part)[1:]],
        "memory": ListOutput.targets["t"].rows,
    }


EXPECTED = [{"n": n, "name": f"name {n}", "row": n} for n in range(9)]


def assert_whole(stage: StageRun) -> None:
    found = contents(stage.folder)
    assert found["grown"] == [["n", "name", "row"], *EXPECTED]
    for target in ("joined", "folder", "memory"):
        assert found[target] == EXPECTED, target
    assert stage.leftovers() == []


def test_a_straight_run_fills_every_kind_of_target(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES)
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert_whole(stage)
    figures = node_figures(stage.port.decided[-1].counters)
    assert (figures["source"].rows_out, figures["grown"].rows_in) == (9, 9)
    assert stage.port.shown.edges["source.out>count.in"].rows == 9


@pytest.mark.parametrize("passing", [1, 2, 3, 5])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_loses_and_doubles_nothing(tmp_path: Path, point: str, passing: int) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES)
    crashed = stage.crash_at(point, passing)
    assert crashed or passing > 1, f"{point} is never passed"
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert_whole(stage)


@pytest.mark.parametrize(
    "second", ["restore.prepared", "restore.staging_removed", "restore.applied", "restore.reopened"]
)
@pytest.mark.parametrize("first", ["epoch.decided", "output.applied", "part.sealed"])
def test_a_second_crash_while_restoring_changes_nothing(tmp_path: Path, first: str, second: str) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES)
    assert stage.crash_at(first, 6)
    stage.crash_at(second)
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert_whole(stage)


def test_nothing_of_a_single_file_shows_before_the_final_epoch(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path,
        {"source": numbers(), "grown": GrowingLines("grown", path="g.jsonl")},
        ["source.out>grown.in"],
    )
    assert stage.crash_at("epoch.applied", 4)
    assert not (tmp_path / "g.jsonl").exists()
    stage.attempt()
    assert len(read_lines(tmp_path / "g.jsonl")) == 10


def test_a_clear_starts_over_and_replaces_what_was_published(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path, {"source": numbers(), "folder": GrowingLines("folder", path="f/")}, ["source.out>folder.in"]
    )
    assert stage.crash_at("epoch.applied", 3)
    stage.clear()
    assert stage.attempt().outcome is Outcome.SUCCESS
    rows = [
        row for part in sorted((tmp_path / "f").glob("*")) if part.is_file() for row in read_lines(part)[1:]
    ]
    assert [row["n"] for row in rows] == list(range(9))
    assert stage.port.decided[-1].epoch > 5, "epoch numbers were reset"
    assert stage.leftovers() == []


def test_an_attempt_that_was_taken_away_writes_nothing_more(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES)
    stage.port.attempt = -1
    order = stage.order()
    stage.port.attempt = order.attempt - 1
    from tests.support.stages import run_planned

    with pytest.raises(Exception, match="taken away"):
        run_planned(order, stage.plan(), stage.port, stage.signals)
    assert stage.port.decided == []
    stage.port.attempt = order.attempt


def test_a_savepoint_keeps_what_was_read(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES, trigger=Trigger(every_seconds=3600))
    stage.signals.pause()
    assert stage.attempt().outcome is Outcome.PAUSED
    assert ListOutput.targets["t"].rows == EXPECTED[:2]
    stage.signals = type(stage.signals)()
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert_whole(stage)


def test_a_cancelled_attempt_keeps_only_what_was_decided(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES)
    stage.signals.cancel()
    assert stage.attempt().outcome is Outcome.CANCELLED
    assert stage.port.decided == []


def test_several_splits_are_read_in_order_and_resumed_in_the_middle(tmp_path: Path) -> None:
    operators = all_outputs() | {"source": numbers(split_rows=4)}
    stage = StageRun(tmp_path, operators, ALL_EDGES)
    assert stage.crash_at("epoch.decided", 3)
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert_whole(stage)


def test_two_inputs_into_one_output_end_apart(tmp_path: Path) -> None:
    operators: dict[str, Operator] = {
        "long": numbers(),
        "short": numbers(ROWS[:1]),
        "both": ListOutput("both", target="t"),
    }
    edges = ["long.out>both.in", "short.out>both.in"]
    for passing in (1, 2, 4):
        clear_memory()
        stage = StageRun(tmp_path / str(passing), operators, edges)
        assert stage.crash_at("epoch.decided", passing)
        assert stage.attempt().outcome is Outcome.SUCCESS
        assert sorted(row["n"] for row in ListOutput.targets["t"].rows) == [0, *range(9)]


class Total(Processor):
    """The number of rows, given when all have come."""

    type: ClassVar[str] = "total"
    stateful: ClassVar[bool] = True

    def open(self, context: Context) -> ProcessorRuntime:
        return Totalling()


class Totalling(ProcessorRuntime):
    def __init__(self) -> None:
        self._seen = 0

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        self._seen += batch.num_rows
        return ()

    def finish(self) -> Emitted:
        yield pa.record_batch({"n": [self._seen]})

    def snapshot(self) -> bytes:
        return str(self._seen).encode().rjust(300_000)  # above the inline bound: a file

    def restore(self, state: bytes) -> None:
        self._seen = int(state)


def test_what_finished_before_a_checkpoint_does_not_finish_again(tmp_path: Path) -> None:
    """A short input's total is given once, though the stage is killed after it ended."""
    operators: dict[str, Operator] = {
        "short": numbers(ROWS[:3]),
        "total": Total("total"),
        "long": numbers(),
        "out": ListOutput("out", target="t"),
        "other": ListOutput("other", target="u"),
    }
    edges = ["short.out>total.in", "total.out>out.in", "long.out>other.in"]
    for passing in range(1, 6):
        clear_memory()
        stage = StageRun(tmp_path / str(passing), operators, edges)
        assert stage.crash_at("epoch.decided", passing)
        assert stage.attempt().outcome is Outcome.SUCCESS
        assert ListOutput.targets["t"].rows == [{"n": 3}]
        assert len(ListOutput.targets["u"].rows) == 9
        assert stage.leftovers() == []


class Limit(Processor):
    """The first rows."""

    type: ClassVar[str] = "limit"

    def open(self, context: Context) -> ProcessorRuntime:
        return Limiting()


class Limiting(ProcessorRuntime):
    def __init__(self) -> None:
        self._left = 3

    @property
    def done(self) -> bool:
        return self._left == 0

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        piece = batch.slice(0, self._left)
        self._left -= piece.num_rows
        yield piece


def test_a_node_that_wants_no_more_stops_its_input_early(tmp_path: Path) -> None:
    operators: dict[str, Operator] = {
        "source": numbers(), "limit": Limit("limit"), "out": ListOutput("out", target="t"),
    }  # fmt: skip
    stage = StageRun(tmp_path, operators, ["source.out>limit.in", "limit.out>out.in"])
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert [row["n"] for row in ListOutput.targets["t"].rows] == [0, 1, 2]
    assert node_figures(stage.port.decided[-1].counters)["source"].rows_out < 9


class Picky(Processor):
    """Refuses odd numbers."""

    type: ClassVar[str] = "picky"

    def open(self, context: Context) -> ProcessorRuntime:
        return Picking(context)


class Picking(ProcessorRuntime):
    def __init__(self, context: Context) -> None:
        self._context = context

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        kept = [row for row in batch.to_pylist() if row["n"] % 2 == 0]
        odd = [row for row in batch.to_pylist() if row["n"] % 2]
        if odd:
            self._context.reject(pa.Table.from_pylist(odd), "odd")
        yield pa.RecordBatch.from_pylist(kept, schema=batch.schema)


def picky(**more: Operator) -> dict[str, Operator]:
    return {"source": numbers(), "picky": Picky("picky"), "out": ListOutput("out", target="t"), **more}


PICKY_EDGES = ("source.out>picky.in", "picky.out>out.in")


def test_the_first_unrouted_reject_fails_the_run_and_says_how_to_allow_it(tmp_path: Path) -> None:
    outcome = StageRun(tmp_path, picky(), PICKY_EDGES).attempt()
    assert (outcome.outcome, outcome.exit_code, outcome.retry) == (Outcome.FAILED, 3, False)
    assert "'picky' refused 1 record (0 allowed)" in outcome.message
    assert "error_limit" in outcome.hint


def test_allowed_rejects_are_kept_once_whatever_is_killed(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, picky(), PICKY_EDGES, limits={"picky": {"records": 4, "ratio": None}})
    assert stage.crash_at("output.applied", 5)
    assert stage.attempt().outcome is Outcome.SUCCESS
    kept = [
        row for part in sorted((tmp_path / "artifacts/rejects").glob("*.jsonl")) for row in read_lines(part)
    ]
    assert [json.loads(row["record"])["n"] for row in kept] == [1, 3, 5, 7]
    assert {row["reason"] for row in kept} == {"odd"}
    assert node_figures(stage.port.decided[-1].counters)["picky"].rejects == 4


def test_a_ratio_of_rejects_is_judged_at_the_end_of_small_inputs(tmp_path: Path) -> None:
    passed = StageRun(tmp_path / "a", picky(), PICKY_EDGES, limits={"picky": {"records": None, "ratio": 0.5}})
    assert passed.attempt().outcome is Outcome.SUCCESS
    failed = StageRun(tmp_path / "b", picky(), PICKY_EDGES, limits={"picky": {"records": None, "ratio": 0.4}})
    assert failed.attempt().exit_code == 3


def test_routed_rejects_do_not_count_against_the_limit(tmp_path: Path) -> None:
    operators = picky(refused=ListOutput("refused", target="r"))
    stage = StageRun(tmp_path, operators, [*PICKY_EDGES, "picky.rejects>refused.in"])
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert [row["node"] for row in ListOutput.targets["r"].rows] == ["picky"] * 4


class PickyOutput(ListOutput):
    """A target that cannot hold odd numbers."""

    type: ClassVar[str] = "picky_output"

    def open(self, context: Context) -> Applier:
        return PickyApplier(super().open(context), context)


class PickyApplier(Applier):
    def __init__(self, applier: Applier, context: Context) -> None:
        self._applier, self._context = applier, context
        self.prepare_stage, self.held_epoch = applier.prepare_stage, applier.held_epoch  # type: ignore[method-assign]

    def accept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        odd = [row["n"] % 2 == 1 for row in batch.to_pylist()]
        if any(odd):
            self._context.reject(batch.filter(pa.array(odd)), "odd")
        return batch.filter(pa.array([not found for found in odd]))

    def apply(self, delivery: Delivery) -> None:
        assert all(row["n"] % 2 == 0 for part in delivery.parts for row in as_rows(part.batches()))
        self._applier.apply(delivery)


def picky_output(**more: Operator) -> dict[str, Operator]:
    return {"source": numbers(), "out": PickyOutput("out", target="t"), **more}


def test_what_an_output_refuses_fails_the_run_before_anything_is_decided(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, picky_output(), ["source.out>out.in"])
    outcome = stage.attempt()
    assert (outcome.outcome, outcome.exit_code, outcome.retry) == (Outcome.FAILED, 3, False)
    assert "'out' refused 1 record (0 allowed)" in outcome.message
    assert stage.port.decided == []


@pytest.mark.parametrize("point", ["part.sealed", "epoch.decided", "output.applied", "epoch.applied"])
@pytest.mark.parametrize("passing", [1, 3, 5])
def test_what_an_output_may_refuse_is_kept_once_whatever_is_killed(
    tmp_path: Path, point: str, passing: int
) -> None:
    limits = {"out": {"records": 4, "ratio": None}}
    stage = StageRun(tmp_path, picky_output(), ["source.out>out.in"], limits=limits)
    assert stage.crash_at(point, passing)
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert [row["n"] for row in ListOutput.targets["t"].rows] == [0, 2, 4, 6, 8]
    kept = [
        row for part in sorted((tmp_path / "artifacts/rejects").glob("*.jsonl")) for row in read_lines(part)
    ]
    assert [(row["node"], json.loads(row["record"])["n"]) for row in kept] == [
        ("out", n) for n in (1, 3, 5, 7)
    ]
    figures = node_figures(stage.port.decided[-1].counters)["out"]
    assert (figures.rows_in, figures.rejects) == (9, 4)


def test_the_ratio_of_what_an_output_refuses_is_judged_at_its_end(tmp_path: Path) -> None:
    limits = {"out": {"records": None, "ratio": 0.4}}
    stage = StageRun(tmp_path, picky_output(), ["source.out>out.in"], limits=limits)
    assert stage.attempt().exit_code == 3


def test_what_an_output_refuses_can_be_routed(tmp_path: Path) -> None:
    operators = picky_output(refused=ListOutput("refused", target="r"))
    stage = StageRun(tmp_path, operators, ["source.out>out.in", "out.rejects>refused.in"])
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert [row["node"] for row in ListOutput.targets["r"].rows] == ["out"] * 4


class Failing(Processor):
    """Fails on a row of its second batch."""

    type: ClassVar[str] = "failing"

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        if 3 in batch["n"].to_pylist():
            try:
                raise ValueError("three")
            except ValueError as error:
                raise RowFailed(2) from error
        yield batch


def test_an_operator_that_fails_is_named_with_batch_and_row(tmp_path: Path) -> None:
    operators: dict[str, Operator] = {
        "source": numbers(), "failing": Failing("failing"), "out": ListOutput("out", target="t"),
    }  # fmt: skip
    outcome = StageRun(tmp_path, operators, ["source.out>failing.in", "failing.out>out.in"]).attempt()
    assert outcome.node == "failing"
    assert outcome.message == "node 'failing', batch 2, row 2: ValueError: three"
    assert "test_stage_runs.py" in outcome.hint


def test_a_stage_that_cannot_be_rewound_has_one_epoch(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, all_outputs(), ALL_EDGES, trigger=None)
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert [decision.epoch for decision in stage.port.decided] == [1]
    assert_whole(stage)


def test_no_rows_still_give_a_file_with_its_header(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path,
        {"source": numbers([]), "grown": GrowingLines("grown", path="g.jsonl")},
        ["source.out>grown.in"],
    )
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert read_lines(tmp_path / "g.jsonl") == [["n", "name"]]


def test_error_if_exists_refuses_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text("mine")
    output = GrowingLines("grown", path="g.jsonl", mode="error_if_exists")
    outcome = StageRun(tmp_path, {"source": numbers(), "grown": output}, ["source.out>grown.in"]).attempt()
    assert (outcome.outcome, outcome.retry) == (Outcome.FAILED, False)
    assert (tmp_path / "g.jsonl").read_text() == "mine"


@pytest.mark.parametrize("point", ["epoch.decided", "file.renamed", "epoch.applied", "stage.finished"])
def test_error_if_exists_publishes_by_link_and_only_once(tmp_path: Path, point: str) -> None:
    output = GrowingLines("grown", path="g.jsonl", mode="error_if_exists")
    stage = StageRun(
        tmp_path, {"source": numbers(), "grown": output}, ["source.out>grown.in"], trigger=Trigger(3600)
    )
    assert stage.crash_at(point)
    assert stage.attempt().outcome is Outcome.SUCCESS
    assert len(read_lines(tmp_path / "g.jsonl")) == 10
    assert stage.leftovers() == []


def test_a_name_taken_meanwhile_gives_the_final_epoch_up(tmp_path: Path) -> None:
    output = GrowingLines("grown", path="g.jsonl", mode="error_if_exists")
    stage = StageRun(
        tmp_path, {"source": numbers(), "grown": output}, ["source.out>grown.in"], trigger=Trigger(3600)
    )
    assert stage.crash_at("epoch.decided")
    (tmp_path / "g.jsonl").write_text("mine")
    outcome = stage.attempt()
    assert (outcome.outcome, outcome.gives_up, outcome.retry) == (Outcome.FAILED, True, False)
    assert (tmp_path / "g.jsonl").read_text() == "mine"


def test_a_cut_part_is_an_error_that_names_the_host(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path,
        {"source": numbers(), "joined": JoinedLines("joined", path="j.jsonl")},
        ["source.out>joined.in"],
    )
    assert stage.crash_at("epoch.applied", 3)
    part = next(path for path in (tmp_path / ".fustgo").iterdir() if path.name != "id")
    part.write_bytes(part.read_bytes()[:-1])
    outcome = stage.attempt()
    assert outcome.outcome is Outcome.FAILED
    assert "host" in outcome.message


def test_another_hidden_folder_is_not_visible_here(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path,
        {"source": numbers(), "grown": GrowingLines("grown", path="g.jsonl")},
        ["source.out>grown.in"],
    )
    assert stage.crash_at("epoch.decided", 2)
    (tmp_path / ".fustgo/id").write_text("another")
    assert "not visible here" in stage.attempt().message


def test_a_target_that_went_back_in_time_stops_without_retry(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path, {"source": numbers(), "out": ListOutput("out", target="t")}, ["source.out>out.in"]
    )
    assert stage.crash_at("epoch.applied", 3)
    ListOutput.targets["t"].ledger["dag-uid:out:0190-run:-1"] = 1
    outcome = stage.attempt()
    assert "holds epoch 1, but epoch 3 was applied" in outcome.message
    assert not outcome.retry


def test_abandon_raises_the_ledger_so_that_no_late_attempt_applies(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path, {"source": numbers(), "out": ListOutput("out", target="t")}, ["source.out>out.in"]
    )
    assert stage.crash_at("epoch.decided", 2)
    assert stage.attempt(only="abandon").outcome is Outcome.SUCCESS
    assert ListOutput.targets["t"].ledger["dag-uid:out:0190-run:-1"] == 2
    stage.attempt(only="apply")  # a late attempt that still takes the epoch for owed
    assert len(ListOutput.targets["t"].rows) == 2


def test_only_apply_reads_no_input(tmp_path: Path) -> None:
    stage = StageRun(
        tmp_path, {"source": numbers(), "out": ListOutput("out", target="t")}, ["source.out>out.in"]
    )
    assert stage.crash_at("epoch.decided", 2)
    assert stage.attempt(only="apply").outcome is Outcome.SUCCESS
    assert len(ListOutput.targets["t"].rows) == 4
    assert stage.port.applied_epoch == 2
