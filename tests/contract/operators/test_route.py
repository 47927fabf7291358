"""route passes the suite of processors."""

from __future__ import annotations

from operators.transforms.route import Route
from orchestrator.sdk.conformance import ProcessorConformance


class TestRoute(ProcessorConformance):
    def processor(self) -> Route:
        return Route(routes={"big": "number > 0", "dated": "day is not null"}, default="rest")
