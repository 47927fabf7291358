"""What must hold after every action. They look at targets and at the decisions, never at the attempts."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from . import names
from .outputs import Output, Row
from .sql import TableOutput
from .store import Epoch, StageRun

if TYPE_CHECKING:
    from .world import World

EpochKey = tuple[str, int, int]


class Violation(AssertionError):
    """A promise is broken."""


def require(holds: bool, promise: str, *facts: object) -> None:
    if not holds:
        raise Violation(promise + "".join(f"; {fact}" for fact in facts))


class Memory:
    """What the invariants remember of earlier moments.

    `carried`: what a target held of a run when it was last cleared. `given_up`: whether a target held an
    epoch when that was given up. `whole`: which runs' lives a target that is replaced whole has shown.
    """

    def __init__(self) -> None:
        self.lives: dict[str, int] = {}
        self.carried: dict[tuple[str, str], set[Row]] = defaultdict(set)
        self.given_up: dict[tuple[str, EpochKey], bool] = {}
        self.whole: set[tuple[str, str, int]] = set()
        self.removed_at: dict[str, int] = {}

    def note(self, world: World) -> None:
        """Remember what this moment settles."""
        for run, stage in world.store.stages.items():
            if self.lives.setdefault(run, 1) != stage.lives:
                self.lives[run] = stage.lives
                for output in world.outputs:
                    self.carried[run, output.node] = {row for row in output.visible() if row.run == run}
        for key, epoch in world.store.history.items():
            if epoch.state == "abandoned":
                for output in world.outputs:
                    if (output.node, key) not in self.given_up:
                        self.given_up[output.node, key] = shows(output, key, epoch)
        for output in world.outputs:
            if output.whole and (rows := output.visible()):
                self.whole.add((output.node, rows[0].run, self.lives.get(rows[0].run, 0)))


def shows(output: Output, key: EpochKey, epoch: Epoch) -> bool:
    """Whether the target shows the epoch (of one that is replaced whole: its final epoch)."""
    if output.whole:
        rows = output.visible()
        return epoch.decision.final and bool(rows) and rows[0].run == key[0]
    return any((row.run, row.epoch, row.attempt) == key for row in output.visible())


def check_always(world: World) -> None:
    """What a reader may see at any moment."""
    world.memory.note(world)
    active = Counter(a.run for a in world.store.attempts.values() if a.state != "done")
    require(all(times == 1 for times in active.values()), "a stage never runs beside itself", active)
    for output in world.outputs:
        (check_whole if output.whole else check_parts)(world, output)
        if isinstance(output, TableOutput):
            again = [entry for entry, times in Counter(output.pre_sql).items() if times > 1]
            require(not again, "pre-SQL runs once a life", again)


def check_whole(world: World, output: Output) -> None:
    """A target that is replaced whole shows one run's complete, decided content, or nothing."""
    rows = output.visible()
    if not rows:
        return
    runs = {row.run for row in rows}
    require(len(runs) == 1, "a replaced target holds one run's rows", output.node, runs)
    run = rows[0].run
    indexes = [row.place for row in rows]
    finals = {key: e for key, e in world.store.history.items() if key[0] == run and e.decision.final}
    require(bool(finals), "nothing is published before its final epoch is decided", output.node)
    kept = [
        key for key, e in finals.items() if e.state != "abandoned" or world.memory.given_up[output.node, key]
    ]
    require(bool(kept), "what was given up never appears", output.node, run)
    first = first_row(world, run, indexes)
    ends = {epoch.decision.position for epoch in finals.values()}
    require(
        indexes == list(range(first, first + len(indexes))) and first + len(indexes) in ends,
        "a replaced target is complete, in order, nothing twice",
        output.node,
        rows,
    )
    check_numbers(world, output, rows)


def first_row(world: World, run: str, indexes: list[int]) -> int:
    """Where a complete content starts: at row 0, or where another run's final epoch moved the cursor."""
    if not world.dag_scoped:
        return 0
    finals = [e.decision for key, e in world.store.history.items() if key[0] != run and e.decision.final]
    return max((d.position for d in finals if d.position <= indexes[0]), default=0)


def check_numbers(world: World, output: Output, rows: list[Row]) -> None:
    """The stateful processor numbers the rows of a run: a state that was lost or doubled shows."""
    wrong = [row for row in rows if row.number != row.place + 1]
    require(world.dag_scoped or not wrong, "states are restored with the positions", output.node, wrong)


def by_epoch(rows: list[Row]) -> dict[EpochKey, list[int]]:
    found: dict[EpochKey, list[int]] = defaultdict(list)
    for row in rows:
        found[row.run, row.epoch, row.attempt].append(row.place)
    return found


def check_parts(world: World, output: Output) -> None:
    """A table or folder that grows by epochs shows whole, decided epochs, and no row twice."""
    rows = output.visible()
    upsert = isinstance(output, TableOutput) and output.mode == "upsert"
    require(len(set(rows)) == len(rows), "no epoch is applied twice", output.node, rows)
    check_numbers(world, output, rows)
    for key, indexes in by_epoch(rows).items():
        epoch = world.store.history.get(key)
        require(epoch is not None, "nothing is published before it is decided", output.node, key)
        assert epoch is not None
        if epoch.state == "abandoned":
            require(
                world.memory.given_up[output.node, key], "what was given up never appears", output.node, key
            )
        decided = list(range(epoch.decision.start, epoch.decision.position))
        whole = set(indexes) <= set(decided) if upsert else sorted(indexes) == decided
        require(whole, "an epoch appears as it was decided, whole", output.node, key, indexes, decided)
    if not upsert:
        check_nothing_twice(world, output, rows)


def check_nothing_twice(world: World, output: Output, rows: list[Row]) -> None:
    """Readers never see a row twice, but for what a clear was allowed to repeat."""
    if world.dag_scoped:
        twice = [index for index, times in Counter(row.place for row in rows).items() if times > 1]
        require(not twice, "no row is seen twice", output.node, twice)
        return
    for run, stage in world.store.stages.items():
        mine = [row for row in rows if row.run == run]
        if not stage.base and len({row.place for row in mine}) == len(mine):
            continue
        twice = [
            i for i, times in Counter(r.place for r in mine if r.epoch > stage.base).items() if times > 1
        ]
        require(not twice, "no row is seen twice", output.node, run, twice)
        late = {row for row in mine if row.epoch <= stage.base} - world.memory.carried[run, output.node]
        require(not late, "nothing of an earlier life comes late", output.node, late)


def check_at_success(world: World, run: str) -> None:
    """What a run that ended well promises, for as long as it stays so."""
    stage = world.store.stages[run]
    epochs = stage.since_base()
    require(bool(epochs) and epochs[-1].decision.final, "success means that the final epoch is decided", run)
    require(stage.unapplied() is None, "success means that everything is applied", run)
    expected = [i for epoch in epochs for i in range(epoch.decision.start, epoch.decision.position)]
    if not world.dag_scoped:
        require(expected == list(range(world.source(run))), "nothing is lost", run, expected)
    counters = epochs[-1].decision.counters
    require(counters == len(expected), "counters count each row once", run, counters, len(expected))
    for output in world.outputs:
        check_target_at_success(world, stage, output)
        check_nothing_left(world, run, output)


def check_target_at_success(world: World, stage: StageRun, output: Output) -> None:
    run, rows = stage.run, output.visible()
    if output.whole:
        shown = (output.node, run, stage.lives) in world.memory.whole
        empty = all(e.decision.start == e.decision.position for e in stage.since_base())
        require(shown or empty, "nothing is lost: the target was replaced", output.node, run)
        return
    if isinstance(output, TableOutput) and output.mode == "upsert":
        check_upsert(world, stage, output)
        return
    mine = [row for row in rows if row.run == run]
    seen = {(row.epoch, row.attempt, row.place) for row in mine if row.epoch > stage.base}
    require(
        seen == expected_rows(world, stage, output),
        "nothing is lost, nothing doubled",
        output.node,
        run,
        mine,
    )
    old = {row for row in mine if row.epoch <= stage.base}
    stays = isinstance(output, TableOutput) or world.dag_scoped
    carried = world.memory.carried[run, output.node] if stays else set()
    require(old == carried, "what an earlier life wrote is kept or replaced by its mode", output.node, old)


def expected_rows(world: World, stage: StageRun, output: Output) -> set[tuple[int, int, int]]:
    """The rows of this life's epochs, without those that were given up before this target had them."""
    return {
        (epoch.decision.number, epoch.attempt, index)
        for epoch in stage.since_base()
        if world.memory.given_up.get((output.node, (stage.run, epoch.decision.number, epoch.attempt)), True)
        for index in range(epoch.decision.start, epoch.decision.position)
    }


def check_upsert(world: World, stage: StageRun, output: Output) -> None:
    """Each key holds the last row of it that this run wrote, or what another run wrote."""
    last: dict[int, int] = {}
    for _, _, index in sorted(expected_rows(world, stage, output)):
        last[index // 2] = index
    present = {row.key: row for row in output.visible()}
    for key, index in last.items():
        require(key in present, "nothing is lost: the key is there", output.node, key)
        row = present[key]
        fresh = row.place >= index if world.dag_scoped else row.run != stage.run or row.place == index
        require(fresh, "an upsert never goes back", output.node, row, index)


def check_nothing_left(world: World, run: str, output: Output) -> None:
    """No staged or spooled part stays, but for what a zombie wrote after its successor had tidied up."""
    tidied = world.memory.removed_at.get(run, -1)
    left = [
        name
        for name, file in output.staged_files.items()
        if names.parse(name).writer == output.writer(run) and file.born <= tidied
    ]
    require(not left, "nothing is left behind", output.node, left)
