"""Runs `fustgo` commands as real processes, forked from a server that has imported everything already.

A fork costs a tenth of a start, so that hundreds of kills fit into the suite. The child is its own
process with its own pid: it can be killed, stopped, and leaves what a killed command leaves.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PRELOAD = [
    "polars", "pyarrow.compute", "pyarrow.parquet", "yaml", "pysqlite3", "sqlalchemy.dialects.sqlite",
    "orchestrator.cli.main", "orchestrator.app", "orchestrator.cli.run", "orchestrator.cli.runs",
    "orchestrator.cli.plan", "orchestrator.cli.summary", "orchestrator.dag.discovery",
    "orchestrator.dag.yaml_reader", "orchestrator.dag.validation", "orchestrator.dag.graph",
    "operators.csv_reading", "operators.parquet", "operators.parquet_footer", "operators.sqlite",
    "operators.sqlite_table", "operators.generate", "operators.discard", "operators.transforms.filter",
    "operators.transforms.mapping", "operators.transforms.route", "operators.transforms.semantics",
    "orchestrator.sdk.function", "orchestrator.sdk.python",
]  # fmt: skip
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(PRELOAD)

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


@dataclass
class Running:
    """A command under way."""

    process: ForkServerProcess
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process.pid is not None
        return self.process.pid

    def wait(self, seconds: float = 120) -> Result:
        """Wait for its end; a command that hangs fails the test."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"the command hung; it said:\n{self.err.read_text()}")
        code = self.process.exitcode
        self.process.close()
        return Result(code, self.out.read_text(), self.err.read_text())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


class Shell:
    """Where commands run: a folder, a home, and files for what they say.

    Commands that are not `measured` count for no coverage: tracing them would double their time.
    """

    def __init__(self, folder: Path, home: Path, *, measured: bool = True) -> None:
        self.folder, self.home, self.measured = folder, home, measured
        self._said = home.parent / f"{home.name}-said"
        self._said.mkdir(parents=True, exist_ok=True)
        self._count = 0

    def start(
        self,
        *args: str,
        crash: str = "",
        log: Path | None = None,
        environ: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> Running:
        """Start a command; `crash` arms crash points, `before` runs in the child first (a seeded bug)."""
        self._count += 1
        out, err = (self._said / f"{self._count}.{name}" for name in ("out", "err"))
        variables = {"FUSTGO_HOME": str(self.home), **(environ or {})}
        process = _server.Process(
            target=_child,
            args=(
                args,
                str(self.folder),
                variables,
                crash,
                str(log or ""),
                str(out),
                str(err),
                before,
                self.measured,
            ),
        )
        process.start()
        return Running(process, out, err)

    def run(self, *args: str, crash: str = "", log: Path | None = None, **more: object) -> Result:
        """Run a command to its end."""
        return self.start(*args, crash=crash, log=log, **more).wait()  # type: ignore[arg-type]


def _child(
    args: Sequence[str],
    folder: str,
    variables: dict[str, str],
    crash: str,
    log: str,
    out: str,
    err: str,
    before: Callable[[], None] | None,
    measured: bool,
) -> None:
    from orchestrator import crash as points
    from orchestrator.cli import main as command

    if not measured:
        _stop_tracing()
    os.chdir(folder)
    os.environ.update(variables)
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    sys.stdin.close()
    points.arm(crash)
    points._log_path = log
    if before is not None:
        before()
    code = command.main(args)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _stop_tracing() -> None:
    coverage = sys.modules.get("coverage")
    running = coverage.Coverage.current() if coverage is not None else None
    if running is not None:
        running.stop()
