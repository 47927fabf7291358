"""What the store can keep, whichever database it is in: instants that any zone can show, and whole texts.

PostgreSQL keeps no character NUL in a text, UTF-8 no half of a surrogate pair. Both databases refuse the
same, so that what ran on one runs on the other.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

MAX_RESULT = 64 * 1024
"""Bytes of a stage's result as JSON."""
VARIABLE_KEY = re.compile(r"[A-Za-z0-9_.-]{1,250}")
"""What a variable may be called; templates reach those that are `[A-Za-z_][A-Za-z0-9_]*`."""
MAX_MESSAGE = 8 << 10
"""Characters of what is said of a failure; where there is a log, that has the rest."""
_BROKEN = re.compile("[\0\ud800-\udfff]")


def instant(moment: datetime) -> datetime:
    """The moment in UTC; ValueError where it has no zone, or is so far off that a zone could not show it."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    if not 2 <= moment.year <= 9998:
        raise ValueError(f"{moment.isoformat()} is outside the years 2 to 9998")
    return moment.astimezone(UTC)


def unkeepable(value: Any) -> str:
    """In words what a JSON value holds that no store keeps; empty where all of it can be kept."""
    written = json.dumps(value, ensure_ascii=False)
    if not ("\\u0000" in written or _BROKEN.search(written)):
        return ""  # a backslash in a text may look like the escape of NUL: only then look closely
    broken = _broken_in(value)
    return f"the character U+{ord(broken):04X}" if broken else ""


def readable(text: str) -> str:
    """The text with the characters that cannot be kept written as escapes."""
    if text.isascii() and "\0" not in text:
        return text
    return _BROKEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def fitting(text: str) -> str:
    """A message, cut where it is longer than what is kept of one."""
    if len(text) <= MAX_MESSAGE:
        return text
    return f"{text[:MAX_MESSAGE]}... (cut: it has {len(text):,} characters)"


def _broken_in(value: Any) -> str:
    if isinstance(value, str):
        found = _BROKEN.search(value)
        return found[0] if found else ""
    inside = [*value, *value.values()] if isinstance(value, dict) else value
    return next(filter(None, map(_broken_in, inside)), "") if isinstance(inside, (list, tuple)) else ""
