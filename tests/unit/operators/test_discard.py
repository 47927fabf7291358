"""discard, and the names that `from operators import ...` knows."""

from __future__ import annotations

import subprocess
import sys

import pytest

import operators
from operators.discard import Discard
from orchestrator.sdk.properties import Kind


def test_it_is_an_output_that_the_engine_need_not_spool() -> None:
    node = Discard()
    assert (node.type, node.kind, node.discards) == ("discard", Kind.OUTPUT, True)
    assert node.input_ports() == ("in",)
    assert node.output_ports() == ()
    assert node.config() == {}
    assert not node.replaces_whole


def test_importing_operators_imports_none_of_them() -> None:
    code = (
        "import sys; from operators import Discard; "
        "unwanted = {'polars', 'pyarrow', 'operators.csv', 'operators.generate'}; "
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no operator 'CsvInputs'.*CsvInput"):
        operators.CsvInputs  # noqa: B018
    assert set(operators.__all__) <= set(dir(operators))
    assert operators.__all__ == sorted(operators._HOMES)
