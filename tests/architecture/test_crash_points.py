"""The points at which the product can be killed are the steps of the protocol, no more and no fewer."""

from __future__ import annotations

import re

from tests.acceptance.test_kill_and_resume import EVERYWHERE, ONLY, RESTORE
from tests.architecture.project import product_files
from tests.protocol.names import FIRING_STEPS, STEPS


def crash_points() -> set[str]:
    found: set[str] = set()
    for path in product_files():
        found.update(re.findall(r'crash_point\("([a-z_.]+)"\)', path.read_text(encoding="utf-8")))
    return found


def test_the_product_has_the_steps_of_the_protocol() -> None:
    assert crash_points() == {*STEPS, *FIRING_STEPS}


def test_the_kill_suite_kills_at_every_one_of_them() -> None:
    """`output.given_up` is passed by --abandon alone, which has a test of its own."""
    killed = {*EVERYWHERE, *RESTORE, *(point for points in ONLY.values() for point in points)}
    assert killed | {"output.given_up"} == set(STEPS)
