"""UUIDv7 (RFC 9562, section 5.7): unique for good, and sorted by the time at which it was given."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from uuid import UUID

RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]{1,250}")
"""What a run may be called, as in Airflow."""


def uuid7(now: datetime) -> str:
    """A new uid: 48 bits of milliseconds since 1970, then 74 random bits."""
    milliseconds = int(now.timestamp() * 1000) & (1 << 48) - 1
    high, low = secrets.randbits(12), secrets.randbits(62)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))
