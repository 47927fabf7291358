"""YAML as YAML 1.2's core rules read it, with the place of every key and value.

`on` and `no` are texts, `017` is seventeen, there is no base 60, no date and no merge key. A key given
twice is an error. Documents are bounded in size, depth and number of values, aliases counted as what
they stand for, so that no small file becomes a large one. JSON is read by its own strict rules first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.dag.marks import Marks
from orchestrator.dag.marks import Path as MarkPath
from orchestrator.errors import Problem, Problems
from orchestrator.sdk.ports import Place

if TYPE_CHECKING:
    import yaml

MAX_BYTES, MAX_DEPTH, MAX_VALUES = 1_000_000, 50, 100_000

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF_NAN = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CORE = "tag:yaml.org,2002:"
# Two escapes of JSON that make one character; what stands behind an escaped backslash is no escape.
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
# What may stand in a JSON text as it is and must be escaped in YAML.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_WRITTEN_TAG = re.compile(r"(?:&\S+\s+)?!")
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)
}  # fmt: skip
_QUOTE_TEMPLATE = 'put the value in quotes: "{{ ds }}"'


def read_yaml(text: str, file: str) -> tuple[Any, Marks]:
    """The document and its marks. Raises `Problems` where it is no YAML at all; all else is in the marks."""
    import yaml

    _bounded(text, file)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        raise Problems([_syntax_problem(error, text, file)]) from None
    except yaml.YAMLError as error:
        raise Problems([Problem(file, 0, 0, f"not YAML: {' '.join(str(error).split())}")]) from None
    except RecursionError:
        raise Problems([Problem(file, 0, 0, f"nested deeper than {MAX_DEPTH} levels")]) from None
    if root is None:
        raise Problems([Problem(file, 0, 0, "the file is empty", "write a DAG with `input` or `nodes`")])
    reading = _Reading(file, text)
    return reading.value(root, (), 0), reading.marks


def read_json(text: str, file: str) -> tuple[Any, Marks]:
    """A JSON document and its marks; `Problems` where it is not JSON."""
    _bounded(text, file)
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Problems([Problem(file, error.lineno, error.colno, f"not JSON: {error.msg}")]) from None
    except (ValueError, RecursionError) as error:
        raise Problems([Problem(file, 0, 0, f"not JSON: {error}")]) from None
    # JSON allows tabs between values where YAML does not; inside a JSON text they are always escaped.
    text = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\t", " "))
    return read_yaml(_SURROGATES.sub(_joined, text), file)


def _joined(pair: re.Match[str]) -> str:
    """JSON escapes a character beyond the first 65,536 as two, YAML as one."""
    high, low = int(pair[2], 16), int(pair[3], 16)
    return pair[1] + f"\\U{0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00):08x}"


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON value")


def _bounded(text: str, file: str) -> None:
    if len(text.encode()) > MAX_BYTES:
        raise Problems([Problem(file, 0, 0, f"larger than {MAX_BYTES:,} bytes, which no DAG needs")])
    if "\0" in text:
        raise Problems([Problem(file, 0, 0, "not a text file: it holds zero bytes")])


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    lines = text.splitlines()
    written = lines[line - 1] if 0 < line <= len(lines) else ""
    before = error.context_mark.line if error.context_mark is not None else line - 1
    around = "\n".join(lines[before:line])
    words = [error.context, error.problem] if (error.problem or "but").startswith("but") else [error.problem]
    said = ", ".join(word for word in words if word)
    return Problem(file, line, column, f"not YAML: {said}", _hint(written, around, column))


def _hint(written: str, around: str, column: int) -> str:
    """What to do about the usual causes of a syntax error."""
    rest = written[max(column - 1, 0) :]
    if re.search(r"""[:,\[]\s*\{\{""", around) or re.search(r"""[{,][^"'{}]*\{\{[^"']*\}\}""", around):
        return _QUOTE_TEMPLATE
    if rest.startswith(("@", "`", "%")):
        return f'put the value in quotes: "{rest.split()[0]}"'
    if re.search(r":\s*\*[/ ]", around) or rest.startswith("*"):
        return 'put cron text in quotes: "*/5 * * * *"'
    if "\t" in written:
        return "indent with spaces, not tabs"
    if written.count('"') % 2 or written.count("'") % 2:
        return "a quote is not closed"
    return ""


@dataclass
class _Reading:
    """Walks a composed tree once."""

    file: str
    text: str
    marks: Marks = field(init=False)
    seen: int = 0
    open: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.marks = Marks(self.file)

    def value(self, node: yaml.Node, path: MarkPath, depth: int) -> Any:
        """What a node says, its place kept."""
        import yaml

        place = Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)
        self.marks.places[path] = place
        self.seen += 1
        if self.seen > MAX_VALUES:
            raise Problems(
                [_at(place, f"more than {MAX_VALUES:,} values, aliases counted as what they stand for")]
            )
        if depth > MAX_DEPTH:
            raise Problems([_at(place, f"nested deeper than {MAX_DEPTH} levels")])
        if id(node) in self.open:
            raise Problems([_at(place, "an alias that holds itself")])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path, depth)
            if node.tag != f"{_CORE}seq":
                self.marks.add(path, f"unknown tag {node.tag}", hint="only plain YAML is read")
            return [self.value(entry, (*path, index), depth + 1) for index, entry in enumerate(node.value)]
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: MarkPath, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        if node.tag != f"{_CORE}map":
            self.marks.add(path, f"unknown tag {node.tag}", hint="only plain YAML is read")
        for key_node, value_node in node.value:
            place = Place(self.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            name = self._key(key_node, place)
            if name is None:
                continue
            if name in lines:
                message = f"{name!r} is given twice, first in line {lines[name]}"
                self.marks.problems.append(_at(place, message, "remove one of them"))
                continue
            lines[name] = place.line
            values[name] = self.value(value_node, (*path, name), depth + 1)
        return values

    def _key(self, node: yaml.Node, place: Place) -> str | None:
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        if isinstance(node, yaml.MappingNode) and node.flow_style:
            self.marks.problems.append(_at(place, "a template without quotes", _QUOTE_TEMPLATE))
        else:
            self.marks.problems.append(_at(place, "a key must be a text"))
        return None

    def _scalar(self, node: yaml.ScalarNode, path: MarkPath) -> Any:
        text: str = node.value
        if not _WRITTEN_TAG.match(self.text, node.start_mark.index):  # else the tag is YAML 1.1's guess
            return text if node.style else core_value(text)
        word = node.tag.removeprefix(_CORE)
        if word == "str":
            return text
        value = core_value(text)
        if word not in _TYPES:
            self.marks.add(path, f"unknown tag {node.tag}", hint="only plain YAML is read", value=text)
        elif type(value) not in _TYPES[word]:
            self.marks.add(path, f"no {word}, though tagged so", value=text)
        return value


def core_value(text: str) -> Any:
    """What a plain scalar means by YAML 1.2's core rules."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        if len(text) > 100:  # no number that anything here can mean, and slow to read
            return text
        return int(text.removeprefix("0o").removeprefix("0x"), {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INF_NAN.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text


def _at(place: Place, message: str, hint: str = "") -> Problem:
    return Problem(place.file, place.line, place.column, message, hint)
