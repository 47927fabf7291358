"""What `fustgo run` shows while rows move: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from orchestrator.cli.render import count, size

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.engine.progress import StageProgress

PLAIN_SECONDS = 5.0


class Display(Protocol):
    """Told of what happens, by the thread that runs the stages."""

    def note(self, text: str) -> None:
        """Something worth a line: a stage began, another try is due."""

    def show(self, stage: str, progress: StageProgress) -> None:
        """The present figures of a running stage; called some ten times a second."""

    def close(self) -> None:
        """The run has ended."""


class PlainDisplay:
    """A line now and then, for files and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = time.monotonic()

    def note(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def show(self, stage: str, progress: StageProgress) -> None:
        if time.monotonic() - self._shown >= PLAIN_SECONDS:
            self._shown = time.monotonic()
            moved = ", ".join(
                f"{node} {count(figures.rows_out or figures.rows_in)}"
                for node, figures in progress.nodes.items()
            )
            self.note(f"{stage}: rows {moved}")

    def close(self) -> None:
        """Nothing to put away."""


class TerminalDisplay:
    """A table that is drawn again in place: rows, rows a second and bytes of each node."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
        self._live.start()
        self._before: dict[str, tuple[float, int, float]] = {}

    def note(self, text: str) -> None:
        self._live.console.print(text, markup=False, highlight=False)

    def show(self, stage: str, progress: StageProgress) -> None:
        self._live.update(self._table(stage, progress))

    def close(self) -> None:
        self._live.stop()

    def _table(self, stage: str, progress: StageProgress) -> Table:
        from rich.table import Table

        table = Table(
            title=f"{stage}, epoch {progress.epoch}", title_justify="left", box=None, padding=(0, 2)
        )
        table.add_column("node")
        for head in ("rows in", "rows out", "rows/s", "bytes", "rejects"):
            table.add_column(head, justify="right")
        for node, figures in progress.nodes.items():
            moved = figures.rows_out or figures.rows_in
            table.add_row(
                node,
                count(figures.rows_in),
                count(figures.rows_out),
                count(self._rate(node, moved)),
                size(figures.bytes_out or figures.bytes_in),
                count(figures.rejects),
            )
        return table

    def _rate(self, node: str, rows: int) -> float:
        """Rows a second, over at least half a second so that the figure can be read."""
        now = time.monotonic()
        at, before, rate = self._before.setdefault(node, (now, rows, 0.0))
        if now - at >= 0.5:
            rate = (rows - before) / (now - at)
            self._before[node] = (now, rows, rate)
        return rate


def display_for(terminal: TextIO = sys.stderr) -> Display:
    """The display that fits where standard error goes."""
    return TerminalDisplay() if terminal.isatty() else PlainDisplay(terminal)
