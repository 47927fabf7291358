"""The settings of a bundle: DAG files in a folder, or in a git repository."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from orchestrator.settings.section import Section
from orchestrator.settings.values import (
    DurationOrNone,
    PathFromHere,
    PathInside,
    SwitchOrNone,
    TextOrNone,
    Words,
    bounded,
    lasting,
)
from orchestrator.units import Duration

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
BundleName: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]

FOLDER_POLL, GIT_POLL = timedelta(milliseconds=500), timedelta(seconds=60)

_REPOSITORY = "write the URL of a repository (https://, ssh://, git://, file://), user@host:path, or a folder"
# What git does not allow in the name of a branch or tag (git-check-ref-format), and what has a meaning of
# its own where a name is expected: the first character of an option, the colon of a refspec.
_NO_REF = re.compile(r"^[-/]|[\s\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|^$")


class BundleSettings(Section):
    """Where DAG files come from."""

    path: PathFromHere = Field(
        default=Path("."),
        description="The folder of the project, relative to where the service is started.",
    )
    dags: PathInside = Field(
        default=Path("dags"), description="Its folder of DAG files; with bundle.git, that of the repository."
    )
    project: Path = Field(
        default=Path("."),
        validate_default=True,
        description="The folder against which data paths resolve, relative to bundle.path.",
    )
    include: Words = Field(
        default=(),
        description="Patterns of files below bundle.dags that DAGs read beside their code, such as "
        "templates/*.html: copied with it.",
    )
    git: TextOrNone = Field(
        default=None,
        description="The git repository that holds the DAG files, by URL or as a folder; none: they lie in "
        "bundle.path.",
    )
    ref: TextOrNone = Field(
        default=None,
        description="The branch, tag or commit of the repository; none: the branch that its HEAD names.",
    )
    poll: DurationOrNone = Field(
        default=None,
        description="Time between two looks for changes; none: 500ms for a folder, 60s for a repository.",
    )
    pause_new_dags: SwitchOrNone = Field(
        default=None,
        description="Whether a DAG that is new starts paused: its schedule fires once somebody unpauses it. "
        "none: it does, but for the folders of `fustgo standalone`.",
    )
    parse_timeout: Annotated[Duration, lasting("1s")] = Field(
        default=timedelta(seconds=60), description="Time that one file may take to be parsed."
    )

    @property
    def interval(self) -> timedelta:
        """Time between two looks for changes."""
        return self.poll or (GIT_POLL if self.git else FOLDER_POLL)

    @property
    def pauses(self) -> bool:
        """Whether a DAG that is new starts paused."""
        return self.pause_new_dags is not False

    @field_validator("project")
    @classmethod
    def _from_the_bundle(cls, project: Path, info: ValidationInfo) -> Path:
        return Path(info.data.get("path", "/"), project.expanduser())

    @field_validator("include")
    @classmethod
    def _inside_the_bundle(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if (path := PurePosixPath(pattern)).is_absolute() or ".." in path.parts:
                raise ValueError(f"{pattern!r} leads out of bundle.dags: patterns are relative to it")
        return patterns

    @field_validator("git")
    @classmethod
    def _is_a_repository(cls, git: str | None) -> str | None:
        return None if git is None else repository(git)

    @field_validator("ref")
    @classmethod
    def _is_a_name_of_git(cls, ref: str | None, info: ValidationInfo) -> str | None:
        if ref is not None and _NO_REF.search(ref):
            raise ValueError("write the name of a branch or tag, or a commit: no spaces, no '-' at its start")
        if ref is not None and info.data.get("git", "") is None:
            raise ValueError("is of a git repository, and there is none: set git beside it")
        return ref

    @field_validator("poll")
    @classmethod
    def _not_without_pause(cls, poll: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if poll is None:
            return None
        if info.data.get("git") and poll < timedelta(seconds=1):
            raise ValueError("must be at least 1s for a git repository")
        return bounded(poll, "100ms", " for a folder")


def repository(git: str) -> str:
    """What git is asked for: the URL as written, or the absolute path of a folder.

    Git runs any program as the helper of a URL (`ext::command`, `name://...` runs git-remote-name), and takes
    what begins with '-' for an option: only its own transports are let through. Raises ValueError.
    """
    if not git or git.startswith("-") or not git.isprintable():
        raise ValueError(_REPOSITORY)
    if re.match(r"[A-Za-z0-9+.-]*::", git):
        raise ValueError(f"runs a helper program of git, which is not allowed: {_REPOSITORY}")
    if "://" in git:
        if re.fullmatch(r"((https?|ssh|git)://([^/\s@]*@)?[^-/\s@][^/\s]*/\S+|file:///.+)", git):
            return git
        raise ValueError(_REPOSITORY)
    if ":" in git.partition("/")[0]:
        if re.fullmatch(r"([^-@:/\s][^@:/\s]*@)?[^-@:/\s][^@:/\s]*:[^-\s]\S*", git):
            return git
        raise ValueError(_REPOSITORY)
    return os.path.normpath(Path(git).expanduser().absolute())
