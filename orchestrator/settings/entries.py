"""Every setting by its name, its default among them, and a value as it was written somewhere."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import Problem
from orchestrator.settings.section import Section
from orchestrator.settings.sections import FileSettings
from orchestrator.settings.values import without_password

BUNDLES = "bundles"


@dataclass(frozen=True)
class Entry:
    """A value as written, and where."""

    value: object
    place: str
    line: int = 0
    column: int = 0

    @property
    def source(self) -> str:
        return f"{self.place}:{self.line}" if self.line else self.place

    def problem(self, message: str, hint: str = "", *, show_value: bool = False) -> Problem:
        shown = without_password(str(self.value)) if show_value else ""
        return Problem(self.place, self.line, self.column, message, hint, shown)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in FileSettings.model_fields.items()
    if name != BUNDLES
}
"""The sections with fixed keys."""

DEFAULTS = {
    f"{section}.{name}": Entry(field.get_default(), "default")
    for section, model in SECTIONS.items()
    for name, field in model.model_fields.items()
}
KEYS = tuple(DEFAULTS)
