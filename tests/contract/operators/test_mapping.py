"""mapping passes the suite of processors."""

from __future__ import annotations

from operators.transforms.mapping import Mapping
from orchestrator.sdk.conformance import ProcessorConformance


class TestMapping(ProcessorConformance):
    def processor(self) -> Mapping:
        return Mapping(
            mappings={"text": "words", "id": "key"},
            columns={"shout": "upper(text) || '!'", "half": "number / 2", "one": "1"},
            types={"key": "int32", "day": "timestamp", "price": "float64"},
            remove=["flag"],
        )


class TestMappingOfNothing(ProcessorConformance):
    def processor(self) -> Mapping:
        return Mapping()
