"""Named points at which a test can kill, stop or fail the process.

A point costs one dictionary look-up when nothing is armed. `FUSTGO_CRASH` arms points in a child
process: `name[@passing][=kill|stop|fail]`, several separated by commas; the default is the first
passing and `kill`. `FUSTGO_CRASH_LOG` names a file to which every passed point is appended, so that
a test can prove that each listed point is really passed. `FUSTGO_CRASH_ONCE` names a file that the first
of several processes makes before it crashes; the others then go on.
"""

from __future__ import annotations

import os
import signal

_armed: dict[str, tuple[int, str]] = {}
_passed: dict[str, int] = {}
_log_path = os.environ.get("FUSTGO_CRASH_LOG", "")
_once_path = os.environ.get("FUSTGO_CRASH_ONCE", "")


class CrashPointFailure(RuntimeError):
    """Raised at a point that was armed with `fail`."""


def arm(text: str) -> None:
    """Arm the points listed in `text`; an empty text disarms all."""
    _armed.clear()
    for entry in filter(None, text.split(",")):
        place, _, act = entry.partition("=")
        name, _, passing = place.partition("@")
        _armed[name] = (int(passing or 1), act or "kill")


def crash_point(name: str) -> None:
    """Mark a step of the protocol; does nothing unless a test armed this name."""
    if not (_armed or _log_path):
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _log_path:
        with open(_log_path, "a", encoding="utf-8") as log:
            log.write(name + "\n")
    passing, act = _armed.get(name, (0, ""))
    if passing == _passed[name] and _is_first():
        _crash(name, act)


def _is_first() -> bool:
    if _once_path:
        try:
            os.close(os.open(_once_path, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
    return True


def _crash(name: str, act: str) -> None:
    if act == "fail":
        raise CrashPointFailure(f"crash point {name}")
    os.kill(os.getpid(), signal.SIGSTOP if act == "stop" else signal.SIGKILL)


arm(os.environ.get("FUSTGO_CRASH", ""))
