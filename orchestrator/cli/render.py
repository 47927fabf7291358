"""Words, numbers and tables as people read them on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.dag.stages import Stage
    from orchestrator.store.tables import Run


def count(number: float) -> str:
    """A whole number with thousands marked: `1,234,567`."""
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Bytes in the largest decimal unit that leaves at least one: `64.0 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def seconds(number: float) -> str:
    """A length of time: `0.42 s`, `3 min 05 s`, `2 h 10 min`."""
    if number < 60:
        return f"{number:.2f} s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def moment(value: datetime | None) -> str:
    """An instant in UTC, to the second; a dash where there is none."""
    return value.strftime("%Y-%m-%d %H:%M:%S") if value is not None else "-"


def local(value: datetime | None, zone: str = "UTC") -> str:
    """An instant as the clocks of a zone show it, with their offset, in UTC where this host does not know
    the zone; a dash where there is none.
    """
    if value is None:
        return "-"
    from orchestrator.dag.timetable import ScheduleProblem, zone_of

    try:
        clocks = zone_of(zone)
    except ScheduleProblem:
        clocks = zone_of("UTC")
    return value.astimezone(clocks).isoformat(" ", "seconds")


def apart(value: datetime, now: datetime) -> str:
    """How far an instant is from now: `in 42 s`, `in 3 h 05 min`, `2 days ago`."""
    ahead = round((value - now).total_seconds())
    minutes, number = divmod(abs(ahead), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        words = f"{hours // 24} days"
    elif hours:
        words = f"{hours} h {minutes:02d} min"
    else:
        words = f"{minutes} min {number:02d} s" if minutes else f"{number} s"
    return f"in {words}" if ahead > 0 else f"{words} ago" if ahead < 0 else "now"


def shortened(text: str, longest: int = 100) -> str:
    """The first line of a text, for a cell of a table; dots where there is more."""
    line = text.partition("\n")[0]
    return text if line == text and len(text) <= longest else f"{line[: longest - 3]}..."


def short_version(version: str | None) -> str:
    """The version of a bundle, a hash or `<commit>/<folder>`, as much of it as people compare."""
    head, slash, folder = (version or "-").partition("/")
    return f"{head[:12]}{slash}{folder}"


def print_json(value: Any) -> None:
    """A value for programs. Times stand in it as everywhere: ISO 8601, `Z` for UTC."""
    print(json.dumps(value, indent=2, default=_as_json, ensure_ascii=False))


def _as_json(value: Any) -> str:
    return str(value.isoformat()).replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)


def run_state(run: Run) -> str:
    """The state of a run as people see it."""
    from orchestrator.runs.shown import shown_run

    return shown_run(run.state, paused=run.paused)


def upstreams(stage: Stage) -> str:
    """What a stage comes after, and how it judges that unless all must succeed: `load, count (all_done)`."""
    rule = "" if stage.rule == "all_success" else f"({stage.rule})"
    return " ".join(filter(None, [", ".join(stage.up), rule]))


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = "") -> str:
    """Columns under a head; those whose cells all look like numbers stand to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    right = [bool(cells) and all(_numeric(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in [list(head), *cells]:
        columns = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(indent + "  ".join(columns).rstrip())
    return "\n".join(lines)


def _numeric(cell: str) -> bool:
    return cell in ("", "-") or cell[0].isdigit()


def log_line(entry: Mapping[str, Any]) -> str:
    """A line of a log: time, level where it is no plain one, node, text."""
    at = str(entry.get("at", ""))[11:19]
    level = str(entry.get("level", "")).upper()
    words = (at, "" if level in ("INFO", "") else level, str(entry.get("node") or ""))
    return " ".join([*filter(None, words), str(entry.get("text", ""))])
