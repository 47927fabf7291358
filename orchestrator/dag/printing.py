"""A Dag as YAML's full form: read back, it gives an equal Dag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dag.model import Dag
from orchestrator.dag.yaml_reader import core_value

if TYPE_CHECKING:
    import yaml


def to_yaml(dag: Dag) -> str:
    """The canonical document as YAML, quoted so that YAML 1.1 and 1.2 read the same."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    Dumper.add_representer(str, _text)
    return yaml.dump(dag.to_document(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quoted where YAML 1.2 would read no text (the dumper knows 1.1's cases), and where it is a template."""
    style = '"' if not isinstance(core_value(text), str) or "{{" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
