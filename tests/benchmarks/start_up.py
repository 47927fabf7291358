"""What a command costs before it does anything: `--help`, and `run` of ten rows, as whole processes."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.processes import fsync_milliseconds, in_turn, median

DAG = """
id: ten
input: {type: csv, config: {path: ten.csv}}
processors:
  - {type: filter, config: {condition: "n > 3"}}
output: {type: csv, config: {path: out.csv}}
"""


def main() -> None:
    """Measure and print."""
    fustgo = str(Path(sys.executable).with_name("fustgo"))
    with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as name:
        folder = Path(name)
        os.environ["FUSTGO_HOME"] = str(folder / "home")
        (folder / "ten.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(10)))
        (folder / "ten.yaml").write_text(DAG)
        commands = {"--help": [fustgo, "--help"], "run of ten rows": [fustgo, "run", "ten.yaml"]}
        found = in_turn(commands, folder, 7)
        print(f"fsync {fsync_milliseconds(folder):.1f} ms")
        for what, bound in (("--help", 0.25), ("run of ten rows", 1.0)):
            print(f"  fustgo {what}: {median(found[what]):.3f} s (to stay under {bound} s)")


if __name__ == "__main__":
    main()
