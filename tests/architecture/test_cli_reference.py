"""The reference of commands is what the parser says."""

from __future__ import annotations

from tests.architecture.cli_reference import reference
from tests.architecture.project import ROOT


def test_the_reference_is_made_from_the_parser() -> None:
    remedy = "run: python -m tests.architecture.cli_reference > docs/cli.md"
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == reference(), remedy
