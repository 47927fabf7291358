"""The border between our code and operators' code: what fails beyond it is named once, exactly."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.crash import CrashPointFailure
from orchestrator.errors import AttemptLost, FustgoError, OperatorError, RejectLimitPassed
from orchestrator.sdk.input import EndOfInput, InputChanged
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.processor import RowFailed


class Speaker:
    """The node whose code runs now, for the lines that it prints; empty between nodes."""

    node = ""


speaker = Speaker()


class NodeFailed(OperatorError):
    """An operator failed; `node` says which, the message also at which batch and row."""

    def __init__(self, node: str, message: str, *, hint: str, retry: bool) -> None:
        super().__init__(message, hint=hint, retry=retry)
        self.node = node


@contextmanager
def operator_code(node: str, place: str = "") -> Iterator[None]:
    """Turn whatever an operator raises into `NodeFailed`; `place` says where, e.g. `batch 3`."""
    before, speaker.node = speaker.node, node
    pid = os.getpid()
    try:
        yield
    except (NodeFailed, AttemptLost, EndOfInput, RejectLimitPassed, CrashPointFailure):
        raise
    except BaseException as error:
        if interrupts(error):
            raise
        raise _named(node, place, error) from error
    finally:
        end_of_a_fork(pid, node)
        speaker.node = before


def end_of_a_fork(pid: int, node: str) -> None:
    """End a child that a node's code has made by `os.fork()` where it comes back from that code, which
    process `pid` has called: the attempt is its parent's, and so is the worker at the other end.
    """
    if os.getpid() != pid:
        said = f"node {node!r}: a child made by os.fork() came back from its code, and is ended"
        sys.stderr.write(f"{said}: end it with os._exit(0)\n")
        os._exit(1)


def interrupts(error: BaseException) -> bool:
    """Whether somebody at the terminal wants this process to stop; else code raised it, whatever it is."""
    return isinstance(error, KeyboardInterrupt) and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def words_of(error: BaseException) -> str:
    """An exception by its name and text, also where it cannot be asked for that."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) was called: raise an error that says what went wrong"
    try:
        text = str(error)
    except BaseException as broken:
        text = f"(its text cannot be had: __str__ raised {type(broken).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _named(node: str, place: str, error: BaseException) -> NodeFailed:
    cause: BaseException = error
    if isinstance(error, RowFailed):
        place = f"{place}, row {error.row}" if place else f"row {error.row}"
        cause = error.__cause__ or error
    where = f"node {node!r}" + (f", {place}" if place else "")
    if isinstance(cause, FustgoError):
        retry = getattr(cause, "retry", True)
        return NodeFailed(node, f"{where}: {cause.message}", hint=cause.hint, retry=retry)
    if isinstance(cause, SchemaProblem):
        return NodeFailed(node, f"{where}: {cause}", hint=cause.hint, retry=False)
    if isinstance(cause, InputChanged):
        return NodeFailed(node, f"{where}: {cause}", hint="", retry=False)
    said = words_of(cause)
    if "No space left on device" in said:  # also said by libraries that raise it without a number
        full = OSError(errno.ENOSPC, "No space left on device", getattr(cause, "filename", None))
        cause = full
    if isinstance(cause, OSError) and cause.strerror:
        name = f" ({cause.filename})" if cause.filename else ""
        return NodeFailed(node, f"{where}: {cause.strerror}{name}", hint=_remedy(cause), retry=True)
    return NodeFailed(node, f"{where}: {said}", hint=_raised_at(cause), retry=True)


def _remedy(error: OSError) -> str:
    remedies = {
        errno.ENOSPC: "free some space, then go on with --resume",
        errno.EDQUOT: "free some of the quota, then go on with --resume",
        errno.EACCES: "give this user the permission, or choose another path",
        errno.EROFS: "the file system is read-only: choose another path",
        errno.EISDIR: "this is a folder: name a file, or end the path in / where a folder is meant",
        errno.ENOTDIR: "a part of the path is a file: choose another path",
        errno.ENOENT: "create it, or correct the path",
    }
    return remedies.get(error.errno or 0, "")


def _raised_at(error: BaseException) -> str:
    frame = authors_frame(error)
    return f"raised at {frame.filename}:{frame.lineno}: {frame.line}" if frame is not None else ""


def is_refusal(error: BaseException) -> bool:
    """Whether an error of ours says it all: neither an author's code nor a library raised any of it."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return all(isinstance(link, FustgoError) and authors_frame(link) is None for link in links)


def authors_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line of the traceback that an author wrote; None where it is all ours or a library's."""
    house = Path(__file__).parents[2]
    ours = (house / "orchestrator", house / "operators")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" in path.parts or "<" in frame.filename or any(own in path.parents for own in ours):
            continue
        return frame
    return None
