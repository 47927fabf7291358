"""Telling a run as it goes on: what becomes of its stages, and what they log."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.cli.render import log_line

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.client import Client
    from orchestrator.store.tables import Run
    from orchestrator.store.views import RunView, StageView

LOG_SECONDS = 0.25  # nobody tells that a log has grown


@dataclass
class LogReader:
    """The log lines of a run that were not read yet: of these stages, in the order of the attempts.

    `nodes`: only lines of these, and those that name none; empty: all. `attempt`: of this one alone.
    `from_newest`: of each stage from that attempt on that had begun last when it was first seen.
    """

    client: Client
    nodes: Collection[str] = ()
    attempt: int | None = None
    from_newest: bool = False
    _first: dict[str, int] = field(default_factory=dict)
    _offsets: dict[int, int] = field(default_factory=dict)

    def new(self, run: Run, stages: Collection[StageView]) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Stage, attempt and line of everything that has come since the last call."""
        for attempt, stage in sorted((tried.id, stage) for stage, tried in _attempts(stages)):
            if self._is_wanted(stage, attempt, stages):
                for line in self._lines(run, stage, attempt):
                    if not self.nodes or line.get("node") in ("", None, *self.nodes):
                        yield stage, attempt, line

    def _is_wanted(self, stage: str, attempt: int, stages: Collection[StageView]) -> bool:
        if self.from_newest and stage not in self._first:
            begun = [
                tried.id
                for name, tried in _attempts(stages)
                if name == stage and tried.claimed_at is not None
            ]
            self._first[stage] = max(begun, default=0)
        return self.attempt in (None, attempt) and attempt >= self._first.get(stage, 0)

    def _lines(self, run: Run, stage: str, attempt: int) -> Iterator[dict[str, Any]]:
        while True:
            page = self.client.read_log(run, stage, attempt, self._offsets.get(attempt, 0))
            self._offsets[attempt] = page.offset
            yield from page.lines
            if not page.lines:
                return


def _attempts(stages: Collection[StageView]) -> Iterator[tuple[str, Any]]:
    for stage in stages:
        for attempt in stage.attempts:
            yield stage.stage_run.stage, attempt


@dataclass
class LinePrinter:
    """Prints log lines; a line of its own names the attempt wherever another one goes on."""

    out: TextIO
    as_json: bool = False
    headed: bool = True
    _last: tuple[str, int] | None = None

    def __call__(self, stage: str, attempt: int, line: dict[str, Any]) -> None:
        if self.as_json:
            text = json.dumps({"stage": stage, "attempt": attempt} | line, ensure_ascii=False)
        else:
            text = log_line(line)
            if self.headed and self._last != (stage, attempt):
                print(f"-- stage {stage}, attempt {attempt}", file=self.out)
        self._last = (stage, attempt)
        print(text, file=self.out, flush=True)


def follow(client: Client, number: int, *, logs: bool, out: TextIO) -> Run:
    """Print what becomes of the stages of a run, with `logs` also their lines, until it has ended."""
    told: dict[str, str] = {}
    reader, print_line = LogReader(client), LinePrinter(out)
    for view in client.watch(str(number), every=LOG_SECONDS if logs else 1.0):
        _tell_stages(view, told, client.clock.now(), lambda text: print(text, file=out, flush=True))
        if logs:
            for found in reader.new(view.run, view.stages):
                print_line(*found)
    return view.run


def _tell_stages(view: RunView, told: dict[str, str], now: datetime, say: Callable[[str], None]) -> None:
    for stage in view.stages:
        name, state = stage.stage_run.stage, view.shown(stage, now)
        if told.get(name, "none") != state:
            fails = state in ("failed", "up_for_retry")
            error = (stage.stage_run.error or {}).get("message", "") if fails else ""
            say(f"stage {name}: {state}{': ' + error if error else ''}")
        told[name] = state
