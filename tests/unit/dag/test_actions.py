# a case a line reads best
"""Actions in a DAG: control edges, what is refused, and what the compiled stages say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.dag.drafting import brief, checked
from tests.unit.dag.test_validation import IN, nodes, out


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([IN, out("o", "in"), "{id: a, type: bash, from: in, config: {command: x}}",
                      "{id: b, type: bash, after: [nobody], readers: 2, config: {command: x, env: {A: '{{ dz }}'}}}",  # noqa: E501
                      out("p", "a"), out("q", "b.rejects"), "{id: c, type: pick, after: [o]}"], [
            "4 [in] action 'a' takes no rows, so 'in' cannot feed it",
            "5 [nobody] there is no node 'nobody'",
            "5 [2] 'readers' of 'b', an action, which moves no rows",
            "5 [dz] unknown template name 'dz'",
            "6 [a] action 'a' gives no rows, so it cannot feed 'p'",
            "7 [b.rejects] action 'b' gives no rows, so it cannot feed 'q'",
            "8 [id] branch 'c' chooses among the nodes that follow it, and none does",
        ], id="actions"),
        pytest.param([IN, out("o", "in"), "{id: a, type: bash, after: [o], config: {command: '{{ ds }}'}}",
                      "{id: b, type: bash, after: [a], config: {command: x, env: {A: '{{ results.a.x }}'}}}",
                      "{id: c, type: bash, config: {command: x, env: {A: '{{ results.a.x }}'}}}",
                      "{id: d, type: mapping, after: [a]}", out("p", "d")], [
            "4 [ds] 'command' of bash takes no template",
            "6 [results.a.x] 'a' need not have ended when 'c' starts, so it has no result then",
            "7 [id] processor 'd' has no input",
        ], id="templates of actions"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_actions_is_told_at_once(
    tmp_path: Path, entries: list[str], expected: list[str]
) -> None:
    assert sorted(brief(checked(tmp_path, nodes(*entries)).problems)) == sorted(expected)
