"""What `dag.test()` gives back, and how it reaches the floors above this one: by an entry point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import UsageError

GROUP, NAME = "fustgo.dag", "test"


@dataclass(frozen=True)
class NodeResult:
    """A node after a test: the state of its stage, and what it moved.

    `result` is what an action returned, or what the node set by `context.result`. `moves` says whether rows
    are counted: an action has none.
    """

    state: str
    rows_in: int = 0
    rows_out: int = 0
    rejects: int = 0
    dropped: int = 0
    result: Any = None
    moves: bool = True


@dataclass(frozen=True)
class RunResult:
    """A run after a test. `state` is `success` or `failed` (or `cancelled`).

    `stages` are the states by stage id, `rejects` the records that nobody routed (`node code reason source
    position record`), `triggered` what actions would have triggered, `errors` what was raised, in order: also
    in a run that ended well all the same.
    """

    state: str
    run_id: str
    stages: Mapping[str, str]
    nodes: Mapping[str, NodeResult]
    rejects: Sequence[Mapping[str, Any]] = ()
    triggered: Sequence[Mapping[str, Any]] = ()
    errors: Sequence[BaseException] = field(default=(), repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the run ended well."""
        return self.state == "success"

    def __str__(self) -> str:
        lines = [f"{self.run_id}: {self.state}"]
        for name, node in self.nodes.items():
            moved = f", {node.rows_in:,} rows in, {node.rows_out:,} out, {node.rejects:,} rejects"
            gave = f", gave {node.result!r}" if node.result is not None else ""
            lines.append(f"  {name}: {node.state}{moved if node.moves else ''}{gave}")
        return "\n".join(lines)


def run_test(dag: Any, **given: Any) -> RunResult:
    """Run a DAG's test by whoever is installed for it; see `DAG.test`."""
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP, name=NAME))
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} installed packages offer dag.test() (entry point {NAME} of group {GROUP})",
            hint="install fustgo again, once",
        )
    result: RunResult = found[0].load()(dag, **given)
    return result
