"""What docs/states.md says may follow what is what the code allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runs import retry, states
from orchestrator.runs.states import Outcome, StopAs

PAGE = (Path(__file__).parents[3] / "docs" / "states.md").read_text(encoding="utf-8")
TABLES: Mapping[str, Mapping[Any, frozenset[Any]]] = {
    "Runs": states.RUN_TRANSITIONS,
    "Stage runs": states.STAGE_TRANSITIONS,
    "Attempts": states.ATTEMPT_TRANSITIONS,
    "Epochs": states.EPOCH_TRANSITIONS,
}


def rows(section: str) -> dict[str, list[str]]:
    """The cells of the tables of a section, by the word in the first."""
    text = PAGE.split(f"\n### {section}\n")[1].split("\n#")[0]
    found = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE)
    return {word: [cell.strip() for cell in cells.split("|")] for word, cells in found}


@pytest.mark.parametrize("section", TABLES)
def test_each_table_of_the_page_is_the_one_of_the_code(section: str) -> None:
    table = TABLES[section]
    listed = {word: set(re.findall(r"`(\w+)`", cells[-1])) for word, cells in rows(section).items()}
    expected = {str(old): {str(new) for new in follow} for old, follow in table.items()}
    assert {word: follow for word, follow in listed.items() if word in expected} == expected


def test_every_outcome_and_every_end_that_a_verb_can_want_is_told() -> None:
    assert set(rows("Attempts")) == {*map(str, Outcome), *map(str, states.AttemptState)}
    wanted = PAGE.split("in place of its outcome:")[1].split("\n\n")[0]
    assert re.findall(r"`(\w+)`", wanted) == list(map(str, StopAs))


def test_the_drawing_has_no_arrow_that_the_code_does_not_know() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+)", PAGE, re.MULTILINE)
    assert len(arrows) > 5
    for old, new in arrows:
        assert states.may_follow(states.StageState(old), states.StageState(new)), (old, new)


def test_the_number_of_losses_is_the_one_of_the_code() -> None:
    assert retry.losses_left(3)
    assert not retry.losses_left(4)
    assert "at most three times" in PAGE
    assert "a fourth loss fails it" in PAGE
