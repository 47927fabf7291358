"""The coverage check fails when it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.architecture.coverage_floors import FLOORS, judge, main
from tests.architecture.project import ROOT


def report(**files: tuple[int, int, int, int]) -> dict[str, object]:
    keys = ("num_branches", "covered_branches", "num_statements", "covered_lines")
    return {
        "files": {name: {"summary": dict(zip(keys, counts, strict=True))} for name, counts in files.items()}
    }


@pytest.mark.parametrize(
    ("counts", "passed"),
    [((10, 9, 10, 9), True), ((10, 8, 10, 10), False), ((10, 10, 10, 8), False), ((0, 0, 10, 9), True)],
)
def test_both_branches_and_lines_must_reach_the_floor(
    counts: tuple[int, int, int, int], passed: bool
) -> None:
    (verdict,) = judge(report(a=counts), {"a": 90.0})
    assert verdict.passed is passed
    assert ("ok" in str(verdict)) is passed


def test_a_part_is_the_sum_of_its_files_and_no_others() -> None:
    (verdict,) = judge(report(a1=(10, 10, 10, 10), a2=(10, 0, 10, 0), b=(10, 0, 10, 0)), {"a": 50.0})
    assert verdict.passed
    assert verdict.files == 2


def test_a_floor_under_nothing_fails() -> None:
    (verdict,) = judge(report(a=(1, 1, 1, 1)), {"b": 1.0})
    assert not verdict.passed


def test_the_command_fails_when_one_part_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(a=(1, 1, 1, 1))))
    assert main([str(path)]) == 1
    assert "FAIL orchestrator/runs/" in capsys.readouterr().out
    whole = {name + ("x.py" if name.endswith("/") else ""): (1, 1, 1, 1) for name in FLOORS}
    path.write_text(json.dumps(report(**whole)))
    assert main([str(path)]) == 0


def test_every_guarded_part_is_there() -> None:
    missing = [part for part in FLOORS if not (ROOT / part).exists()]
    assert not missing
