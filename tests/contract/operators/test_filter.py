"""filter passes the suite of processors."""

from __future__ import annotations

from operators.transforms.filter import Filter
from orchestrator.sdk.conformance import ProcessorConformance


class TestFilter(ProcessorConformance):
    def processor(self) -> Filter:
        return Filter(condition="number > 0 or length(text) > 4")
