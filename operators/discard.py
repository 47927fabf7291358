"""discard: takes rows and keeps none; for ports whose rows are not wanted, and for measuring."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.sdk.operator import operator
from orchestrator.sdk.output import Output


@operator("discard")
class Discard(Output):
    """Counts rows and throws them away; nothing is written anywhere."""

    discards: ClassVar[bool] = True
