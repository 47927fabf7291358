"""Fail where coverage, counted over branches and over lines, is under its floor.

    python -m tests.architecture.coverage_floors .coverage.json

The parts that decide what is lost or doubled have a higher floor than the rest. A part that matches no
measured file fails too: a floor under nothing guards nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOORS: dict[str, float] = {
    "": 85.0,
    "orchestrator/runs/": 90.0,
    "orchestrator/dag/": 90.0,
    "orchestrator/engine/": 90.0,
    "orchestrator/store/queue.py": 90.0,
}


@dataclass(frozen=True)
class Count:
    """How many of something there are, and how many of them a test reached."""

    total: int = 0
    covered: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.total + other.total, self.covered + other.covered)

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.total if self.total else 100.0


@dataclass(frozen=True)
class Verdict:
    """One part of the code against its floor."""

    part: str
    floor: float
    files: int
    branches: Count
    lines: Count

    @property
    def passed(self) -> bool:
        return self.files > 0 and min(self.branches.percent, self.lines.percent) >= self.floor

    def __str__(self) -> str:
        mark = "ok  " if self.passed else "FAIL"
        return (
            f"{mark} {self.part or 'all':<30} branches {self.branches.percent:5.1f} %  "
            f"lines {self.lines.percent:5.1f} %  floor {self.floor:g} %  ({self.files} files)"
        )


def judge(report: Mapping[str, Any], floors: Mapping[str, float] = FLOORS) -> Iterator[Verdict]:
    """The verdict on each part; `report` is what `coverage json` writes."""
    for part, floor in floors.items():
        summaries = [entry["summary"] for name, entry in report["files"].items() if name.startswith(part)]
        branches = sum((Count(s["num_branches"], s["covered_branches"]) for s in summaries), Count())
        lines = sum((Count(s["num_statements"], s["covered_lines"]) for s in summaries), Count())
        yield Verdict(part, floor, len(summaries), branches, lines)


def main(arguments: Sequence[str]) -> int:
    """Print all verdicts; 1 if any part is under its floor."""
    verdicts = list(judge(json.loads(Path(arguments[0]).read_text(encoding="utf-8"))))
    print(*verdicts, sep="\n")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
