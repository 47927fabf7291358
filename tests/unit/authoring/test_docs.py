"""The examples in `docs/dag-authoring.md` are what they say: files without a problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.dag.discovery import load_one
from orchestrator.dag.validation import check
from orchestrator.sdk.registry import Registry

PAGE = Path(__file__).parents[3] / "docs" / "dag-authoring.md"
EXAMPLES = re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples_of_both_forms() -> None:
    assert {language for language, _ in EXAMPLES} == {"python", "yaml"}


@pytest.mark.parametrize(("language", "text"), EXAMPLES)
def test_an_example_has_no_problem(language: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / f"example.{'py' if language == 'python' else 'yaml'}"
    file.write_text(text, encoding="utf-8")
    loaded = load_one(file, registry=(registry := Registry()))
    assert check(loaded.dag, loaded.marks, registry).problems == []
