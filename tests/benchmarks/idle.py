"""What `fustgo standalone` costs while it has nothing to do, and how soon it is ready.

Memory is the proportional set size of the process tree. Four runners stand by, before their first attempt and
after five each. What reads DAG files stands by for a minute after it has read one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from orchestrator.worker.memory import proportional
from tests.benchmarks.processes import fsync_milliseconds, tree, used

RUNNERS = 4
READER, READER_STAYS = b"orchestrator.scheduler.parsing", 60.0  # seconds
IDLE = 10.0  # seconds of idleness that are measured
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as name:
        folder = Path(name)
        (folder / "dags").mkdir()
        (folder / "dags" / "busy.json").write_text(json.dumps(busy()))
        environ = {
            **os.environ,
            "FUSTGO_HOME": str(folder / "home"),
            "FUSTGO_WORKER__SLOTS": str(RUNNERS),
        }
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        print(f"fsync {fsync_milliseconds(folder):.1f} ms")
        starts = [started(folder, environ, measured=False) for _ in range(2)]
        starts.append(started(folder, environ, measured=True))
        print(f"  ready after {', '.join(f'{seconds:.2f}' for seconds in starts)} s (to stay under 3 s)")


def busy() -> dict[str, object]:
    """A DAG with as many chains as there are runners, each of five stages that do a little work."""
    nodes: list[dict[str, object]] = []
    for chain in range(RUNNERS):
        for step in range(ROUNDS):
            source, kept, end = (f"{kind}{chain}{step}" for kind in ("rows", "kept", "end"))
            after: dict[str, object] = {"after": [f"end{chain}{step - 1}"]} if step else {}
            rows = {"id": source, "type": "generate", "kind": "input", "config": {"rows": 1_000_000}}
            nodes += [
                {**rows, **after},
                {"id": kept, "type": "filter", "from": source, "config": {"condition": "row % 2 = 0"}},
                {"id": end, "type": "discard", "kind": "output", "from": kept},
            ]
    return {"id": "busy", "nodes": nodes}


def started(folder: Path, environ: dict[str, str], *, measured: bool) -> float:
    """Start it, measure it where asked to, end it; the seconds until it was ready."""
    fustgo = str(Path(sys.executable).with_name("fustgo"))
    began = time.perf_counter()
    with subprocess.Popen(
        [fustgo, "standalone"], cwd=folder, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "fustgo is ready" in line:
                    break
            ready = time.perf_counter() - began
            if measured:
                report(process.pid, "what reads DAG files stands by")
                wait_for_the_reader(process.pid)
                report(process.pid, "no runner has run an attempt")
                run_five_each(fustgo, folder, environ)
                report(process.pid, "each runner has run about five")
        finally:
            process.send_signal(signal.SIGTERM)
    return ready


def report(pid: int, what: str) -> None:
    """Print what the tree holds and uses while it is idle."""
    pause = threading.Event()
    pause.wait(3.0)  # runners stand by a little after it is ready
    before, at = used(pid), time.perf_counter()
    pause.wait(IDLE)
    share = (used(pid) - before) / (time.perf_counter() - at)
    members = sorted(tree(pid))
    total = sum(map(proportional, members))
    parts = " + ".join(f"{proportional(member) / 2**20:.0f}" for member in members)
    print(f"  {what}: {total / 2**20:.0f} MiB (to stay under 300) in {len(members)} processes: {parts}")
    print(f"    idle for {IDLE:g} s: {share:.2%} of a core (to stay under 1 %)")


def wait_for_the_reader(pid: int) -> None:
    """Wait until what reads DAG files is let go."""
    pause, end = threading.Event(), time.perf_counter() + 2 * READER_STAYS
    while any(READER in Path(f"/proc/{member}/cmdline").read_bytes() for member in tree(pid)):
        assert time.perf_counter() < end, "it stays"
        pause.wait(0.5)


def run_five_each(fustgo: str, folder: Path, environ: dict[str, str]) -> None:
    """Run the busy DAG to its end."""
    subprocess.run(
        [fustgo, "dags", "trigger", "busy"], cwd=folder, env=environ, check=True, capture_output=True
    )
    for _ in range(240):
        shown = subprocess.run(
            [fustgo, "runs", "show", "1", "--json"], cwd=folder, env=environ, check=True, capture_output=True
        )
        state = json.loads(shown.stdout)["state"]
        if state not in ("queued", "running"):
            assert state == "success", shown.stdout.decode()
            return
    raise AssertionError("the run did not end")


if __name__ == "__main__":
    main()
