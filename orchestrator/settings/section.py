"""What a group of settings is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings; immutable once loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")
