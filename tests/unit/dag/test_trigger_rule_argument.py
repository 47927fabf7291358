"""A trigger rule in a file: which are known, and whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.dag.graph import compile_stages
from tests.unit.dag.drafting import checked, load
from tests.unit.dag.sample_operators import REGISTRY
from tests.unit.dag.test_validation import IN, nodes, out


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_every_trigger_rule_belongs_to_the_stage_of_its_node(tmp_path: Path, rule: str) -> None:
    """Whichever node names it; what the DAG says counts where none does."""
    text = nodes(
        IN,
        out("o", "in"),
        "{id: more, type: csv, kind: input, config: {path: c}, after: o}",
        out("p", "more", f", trigger_rule: {rule}"),
        "{id: last, type: csv, kind: input, config: {path: d}, after: p}",
        out("q", "last"),
        head="trigger_rule: none_skipped\n",
    )
    found = checked(tmp_path, text)
    assert found.problems == []
    stages = compile_stages(load(tmp_path, text).dag, REGISTRY)
    assert [stage.rule for stage in stages] == ["none_skipped", rule, "none_skipped"]


def test_a_misspelt_trigger_rule_is_told_the_nearest(tmp_path: Path) -> None:
    [problem] = checked(tmp_path, nodes(IN, out("o", "in", ", trigger_rule: one_succes"))).problems
    assert problem.hint == "did you mean 'one_success'?"
