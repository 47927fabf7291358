"""Files on this host as inputs: found with clear errors, and proved unchanged since they were planned."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import OperatorError
from orchestrator.sdk.context import Context
from orchestrator.sdk.input import InputChanged


@contextmanager
def clear_errors(path: Path | str) -> Iterator[None]:
    """Say of an operating-system error which file it is about and what to do."""
    try:
        yield
    except FileNotFoundError:
        raise OperatorError(
            f"there is no file {path}",
            hint="check `path`; a relative one lies in the project folder",
            retry=False,
        ) from None
    except PermissionError:
        raise OperatorError(
            f"no permission to read {path}", hint=f"allow it for user id {os.geteuid()}", retry=False
        ) from None
    except NotADirectoryError:
        raise OperatorError(
            f"there is no file {path}: a part of its path is a file, not a folder", retry=False
        ) from None


def plan_file(context: Context, path: str) -> dict[str, Any]:
    """The split of one whole file: its absolute path, and what proves that it is unchanged."""
    full = context.resolve(path)
    with clear_errors(full):
        state = full.stat()
        if stat.S_ISDIR(state.st_mode):
            raise OperatorError(f"{full} is a folder, not a file", hint="name one file in it", retry=False)
        if not stat.S_ISREG(state.st_mode):
            raise OperatorError(
                f"{full} is a pipe or a device, not a file",
                hint="write its content into a file: what is read must be readable again after a kill",
                retry=False,
            )
        os.close(os.open(full, os.O_RDONLY))
    return {"path": str(full), "size": state.st_size, "mtime_ns": state.st_mtime_ns}


def open_planned(split: Mapping[str, Any]) -> int:
    """A descriptor of the file of a split; `InputChanged` where it is not what was planned."""
    with clear_errors(split["path"]):
        handle = os.open(split["path"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        check_unchanged(handle, split)
    except BaseException:
        os.close(handle)
        raise
    return handle


def check_unchanged(handle: int, split: Mapping[str, Any]) -> None:
    """Raise `InputChanged`, saying what changed, where an open file is not what was planned."""
    state = os.fstat(handle)
    if state.st_size != split["size"]:
        found = f"had {split['size']} bytes and has {state.st_size}"
    elif state.st_mtime_ns != split["mtime_ns"]:
        found = f"was written at {_moment(state.st_mtime_ns)}, after {_moment(split['mtime_ns'])}"
    else:
        return
    raise InputChanged(
        f"{split['path']} changed since this run began: it {found}. Put the old file back to go on, "
        "or start the run over with --clear"
    )


def _moment(nanoseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
