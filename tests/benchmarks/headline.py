"""10 million rows of CSV, `age > 18`, one rename, CSV out: `fustgo run` against a polars streaming script.

Whole processes, imports included, checkpoints and counters on; the outputs are compared. Run as
`python -m tests.benchmarks.headline [ROWS] [RUNS]`.
"""

from __future__ import annotations

import filecmp
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.people import write_people
from tests.benchmarks.processes import fsync_milliseconds, in_turn, median, ratio

POLARS = """
import polars as pl
frame = pl.scan_csv("people.csv", try_parse_dates=True)
frame.filter(pl.col("age") > 18).rename({"name": "full_name"}).sink_csv("theirs.csv")
"""
FUSTGO = """
id: headline
input: {type: csv, config: {path: people.csv}}
processors:
  - {type: filter, config: {condition: "age > 18"}}
  - {type: mapping, config: {mappings: {name: full_name}}}
output: {type: csv, config: {path: ours.csv}}
"""


def main(rows: int, runs: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as name:
        folder = Path(name)
        os.environ["FUSTGO_HOME"] = str(folder / "home")
        write_people(folder / "people.csv", rows)
        (folder / "headline.yaml").write_text(FUSTGO)
        (folder / "theirs.py").write_text(POLARS)
        commands = {
            "fustgo": [sys.executable, "-m", "orchestrator", "run", "headline.yaml"],
            "polars": [sys.executable, "theirs.py"],
        }
        found = in_turn(commands, folder, runs)
        assert filecmp.cmp(folder / "ours.csv", folder / "theirs.csv", shallow=False), "outputs differ"
        size = (folder / "people.csv").stat().st_size
        print(
            f"{rows:,} rows, {size / 1e6:,.0f} MB, {runs} runs in turn, "
            f"fsync {fsync_milliseconds(folder):.1f} ms"
        )
        for command, taken in found.items():
            memory = max(value.memory for value in taken) / 1e6
            seconds = median(taken)
            print(
                f"  {command}: {seconds:.2f} s, {rows / seconds / 1e6:.1f} million rows/s, "
                f"peak {memory:.0f} MB"
            )
        print(f"  ratio fustgo / polars: {ratio(found['fustgo'], found['polars']):.2f}")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    main(*(numbers + [10_000_000, 3][len(numbers) :]))
