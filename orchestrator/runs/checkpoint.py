"""The values that cross between engine and store: what was sealed, decided, and can be continued.

An epoch's `Decision` is the truth (rule 2.4): positions, states, counters, results and the tokens of
its sealed parts are one record. A `Checkpoint` is what a new attempt reads before it goes on.
All of it is JSON, so that the same values travel to a child process and lie in a database row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Json = Any  # a JSON value: None, bool, int, float, str, list or dict of such


@dataclass(frozen=True)
class Token:
    """A part that an output sealed for an epoch: durable under `name` with `length` bytes.

    `folder` is the random id of the hidden folder that holds the part; it is empty for a part that
    is spooled in the artifact store. `host` sealed it. `rows` is what the epoch added.
    """

    node: str
    epoch: int
    name: str
    length: int
    folder: str = ""
    host: str = ""
    rows: int = 0


@dataclass(frozen=True)
class NodeState:
    """A node's snapshot: inline (base64) up to 256 KiB, else a file in the artifact store.

    `version` is the operator's `state_version`; a restore under another one is refused.
    """

    version: int
    inline: str | None = None
    file: str | None = None
    sha256: str = ""
    length: int = 0


@dataclass(frozen=True)
class Decision:
    """One epoch of a stage run, as decided."""

    epoch: int
    final: bool = False
    positions: Mapping[str, Json] = field(default_factory=dict)
    states: Mapping[str, NodeState] = field(default_factory=dict)
    counters: Mapping[str, Json] = field(default_factory=dict)
    results: Mapping[str, Json] = field(default_factory=dict)
    tokens: tuple[Token, ...] = ()
    inputs: Mapping[str, Json] = field(default_factory=dict)  # what each input read: fingerprints

    def to_json(self) -> dict[str, Json]:
        """The record as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Json]) -> Decision:
        """The record from the JSON object that `to_json` gave."""
        fields = dict(document)
        fields["tokens"] = tuple(Token(**token) for token in fields.get("tokens", ()))
        fields["states"] = {node: NodeState(**state) for node, state in fields.get("states", {}).items()}
        return cls(**fields)


@dataclass(frozen=True)
class Checkpoint:
    """What an attempt finds when it opens (rule 3.4).

    `base` is the number from which the present start counts, `highest` the highest number ever
    decided (numbers never go back), `applied` the last one that the store has as applied, `abandoned`
    the last one that was given up: its rows are not read again, since an output may have them.
    `last` is the newest epoch decided after `base`, and `tokens` those of all epochs after `base`,
    oldest first.
    """

    base: int = 0
    highest: int = 0
    applied: int = 0
    abandoned: int = 0
    last: Decision | None = None
    tokens: tuple[Token, ...] = ()

    @property
    def owed(self) -> Decision | None:
        """The last decided epoch, where it is neither applied nor given up."""
        settled = max(self.applied, self.abandoned)
        return self.last if self.last is not None and self.last.epoch > settled else None
